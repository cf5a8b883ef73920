"""`qaqfilter schema`: the JSON Schema of recipes, with the options of every installed plugin."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from qaqfilter.cli.options import plugin_option
from qaqfilter.errors import UsageError
from qaqfilter.manager import load_plugins
from qaqfilter.schema import recipe_schema


@click.command(
    name="schema",
    epilog="Example: qaqfilter schema --output qaqfilter.schema.json",
)
@plugin_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to this file, as UTF-8, and not to the terminal.",
)
def command(plugins: tuple[Path, ...], output: Path | None) -> None:
    """Print the JSON Schema of a recipe, for editors."""
    schema = recipe_schema(load_plugins(plugins))
    text = orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if output is None:
        click.echo(text.decode(), nl=False)
        return
    try:
        output.write_bytes(text)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
