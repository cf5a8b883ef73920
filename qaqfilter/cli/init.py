"""`qaqfilter init`: from data to a recipe that runs."""

from __future__ import annotations

import glob
import shlex
import sys
from pathlib import Path
from typing import Any, cast

import click

from qaqfilter.cli.options import plugin_option
from qaqfilter.cli.say import safe, say
from qaqfilter.errors import SourceError, UsageError
from qaqfilter.manager import load_plugins

GOALS = {
    "disagreement": "what a strong model finds coherent and a weak one does not; two models",
    "rmi": "answers that belong to their queries; one model",
    "ifd": "answers that are hard to predict from their queries; one model",
}
SHARE = click.FloatRange(min=0, max=1, min_open=True)


@click.command(
    name="init",
    short_help="Look at data and write a recipe for it that runs.",
    epilog="Example: qaqfilter init data.jsonl --method rmi --keep 0.5",
)
@click.argument("data", nargs=-1)
@click.option(
    "-o",
    "--recipe",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recipe.yaml"),
    show_default=True,
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Overwrite it.")
@click.option(
    "--model", help="A folder, a .gguf file, a Hugging Face id or builtin:strong (the default)."
)
@click.option("--weak-model", default="builtin:weak", show_default=True, help="For disagreement.")
@click.option("--backend", help="The backend of --model; by default one that suits it.")
@click.option("--method", type=click.Choice(tuple(GOALS)), help="Default: disagreement.")
@click.option("--keep", type=SHARE, help="The share of the records to keep. Default: 0.25.")
@click.option("--output", default="out", show_default=True, help="The folder for the results.")
@click.option("--source", help="The source plugin, where the files' ending does not tell.")
@click.option("--query", metavar="FIELD", help="The field of the query, where no layout fits.")
@click.option("--answer", metavar="FIELD", help="The field of the answer, likewise.")
@plugin_option
def command(*, data: tuple[str, ...], path: Path, force: bool, **given: Any) -> None:
    """Look at DATA (files or patterns) and write a recipe for it that runs.

    Asks on a terminal for what is not given, DATA too; elsewhere takes what works without a
    download.
    """
    from qaqfilter import starting
    from qaqfilter.looking import look
    from qaqfilter.starting_text import Draft, Method

    if (given["query"] is None) != (given["answer"] is None):
        raise UsageError("--query and --answer go together: name both fields")
    if path.exists() and not force:  # before anything is asked
        raise UsageError(f"{path} is there; --force overwrites it, -o names another file")
    fields = {} if given["query"] is None else {n: given[n] for n in ("query", "answer")}
    asks = sys.stdin.isatty() and sys.stderr.isatty()
    data = data or _data(asks=asks)
    manager = load_plugins(given["plugins"])
    folder = path.parent.absolute()
    try:
        found = look(manager, data, folder, source=given["source"], fields=fields)
    except SourceError as error:
        if fields or "layout" not in str(error):
            raise
        raise SourceError(f"{error}\nor name them here: --query FIELD --answer FIELD") from error
    many = f"{found.files} files, " if found.files > 1 else ""
    layout = f"layout {found.layout}" if found.layout else "fields as they are named"
    say(f"{', '.join(data)}: {many}source {found.source}, {layout}")

    method, keep, model = _wishes(given, asks=asks)
    models = {"strong": (given["backend"] or starting.backend_for(manager, model), model)}
    if method == "disagreement":
        weak = given["weak_model"]
        models["weak"] = (starting.backend_for(manager, weak), weak)
    draft = Draft(
        name=found.stem,
        source=found.source,
        patterns=found.patterns,
        layout=found.layout,
        fields=fields,
        sink=starting.sink_for(manager, found.source),
        output=starting.output_for(given["output"], folder),
        method=cast(Method, method),
        keep=keep,
        models={
            name: (backend, starting.location_for(location, folder))
            for name, (backend, location) in models.items()
        },
    )
    recipe, schema = starting.write_draft(draft, path, manager, replace=force)
    say(f"wrote {recipe} (editors check it by {schema.name} beside it)")
    say(f"next: qaqfilter run {shlex.quote(str(recipe))}")


def _data(*, asks: bool) -> tuple[str, ...]:
    """The data, where the call names none: asked for until there is some."""
    if not asks:
        raise UsageError("name the data: qaqfilter init data.jsonl (files, or patterns in quotes)")
    while True:
        name = click.prompt("Data, a file or a pattern", err=True).strip()
        if Path(name).is_file() or glob.glob(name, recursive=True):  # noqa: PTH207
            return (name,)
        say(f"no file matches {name}", err=True)


def _wishes(given: dict[str, Any], *, asks: bool) -> tuple[str, float, str]:
    """Method, share and model: from the options, else asked for, else what works everywhere."""
    method, keep, model = given["method"], given["keep"], given["model"]
    if asks and method is None:
        for name, goal in GOALS.items():
            say(f"  {name}: {goal}", err=True)
        choice = click.Choice(tuple(GOALS))
        method = click.prompt("What to keep", default="disagreement", type=choice, err=True)
    if asks and keep is None:
        keep = click.prompt("Share of the records to keep", default=0.25, type=SHARE, err=True)
    if asks and model is None:
        model = click.prompt(safe("Model that judges"), default="builtin:strong", err=True)
    return method or "disagreement", 0.25 if keep is None else keep, model or "builtin:strong"
