"""`qaqfilter convert`: records from one layout, or format, to another."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from qaqfilter.cli.options import plugin_option
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.say import say
from qaqfilter.errors import UsageError
from qaqfilter.layout_writers import WRITERS
from qaqfilter.manager import load_plugins

LAYOUT = click.Choice(tuple(WRITERS))


def _named_fields(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """`query=a,answer=b` as a dict."""
    if value is None:
        return None
    found: dict[str, str] = {}
    for part in value.split(","):
        name, equals, field = part.partition("=")
        if not equals or not field or name not in ("query", "answer", "id", "system"):
            raise click.BadParameter(f"{part!r} is not like query=FIELD (or answer, id, system)")
        found[name] = field
    if not {"query", "answer"} <= found.keys():
        raise click.BadParameter("name both query and answer")
    return found


@click.command(
    name="convert",
    short_help="Write records in another layout or format.",
    epilog="Example: qaqfilter convert data.jsonl --to messages -o train.parquet",
)
@click.argument("data", nargs=-1, required=True)
@click.option("--to", type=LAYOUT, required=True, help="The layout to write.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=Path("-"),
    help="The file to write, in the format of its ending: .jsonl, .json, .parquet, .csv, .tsv, "
    "packed .jsonl.gz or .jsonl.zst. Without it JSON lines go to standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--layout", type=LAYOUT, help="The layout of DATA; by default that of its first row.")
@click.option(
    "--fields",
    callback=_named_fields,
    metavar="query=A,answer=B",
    help="The fields of DATA, where no layout fits; also id=C and system=D. A dot goes into an "
    "object.",
)
@click.option("--source", help="The source plugin, where the files' ending does not tell.")
@click.option(
    "--drop",
    multiple=True,
    metavar="FIELD",
    help="Leave a field out, of rows and of turns. May be given more than once.",
)
@click.option(
    "--on-error",
    type=click.Choice(("fail", "skip")),
    default="fail",
    show_default=True,
    help="What to do about records that are bad, or that the layout cannot say: write nothing, or "
    "leave them out.",
)
@plugin_option
def command(*, data: tuple[str, ...], output: Path, force: bool, **given: Any) -> None:
    """Write the records of DATA (files or patterns) in another layout, or format.

    Query, answer, system text and turns move to the fields of the layout; all other fields stay.
    """
    from qaqfilter import converting

    if given["layout"] and given["fields"]:
        raise UsageError("--layout and --fields exclude each other")
    piped = str(output) == "-"
    if not piped and output.exists() and not force:
        raise UsageError(f"{output} is there; --force overwrites it, -o names another file")
    manager = load_plugins(given["plugins"])
    conversion = converting.Conversion(
        data, given["to"], given["source"], given["layout"], given["fields"], given["drop"]
    )
    found = conversion.look(manager)
    with make_observer() as observer, tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kept.jsonl") if piped else output
        done = converting.convert(
            manager, conversion, found, path, observer, on_error=given["on_error"]
        )
        if piped:
            _print(path)
    was = f"layout {found.layout}" if found.layout else "fields as they are named"
    say(f"{', '.join(data)}: source {found.source}, {was}", err=piped)
    if done.refused:
        say(f"left out {done.refused} records; the first: {done.first}", err=piped)
    where = "" if piped else f" to {output}"
    say(f"wrote {done.written} records in layout {given['to']}{where}", err=piped)


def _print(path: Path) -> None:
    """The file's bytes, to whoever still wants them."""
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
