"""`qaqfilter schema`: the JSON Schema of recipes, with the options of every installed plugin."""

from __future__ import annotations

import click
import orjson

from qaqfilter.manager import load_plugins
from qaqfilter.schema import recipe_schema


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema of a recipe, for editors."""
    schema = recipe_schema(load_plugins())
    click.echo(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())
