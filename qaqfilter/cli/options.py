"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path

import click

recipe_argument = click.argument("recipe", type=click.Path(path_type=Path))
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="A.B.C=VALUE",
    help="Override a value of the recipe; steps go by id. May be given more than once.",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Load a plugin from a Python file. May be given more than once.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help="Read only so many records."
)
replace_option = click.option(
    "--replace", is_flag=True, help="Overwrite a finished run in the same folder."
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document to standard output, and nothing else there.",
)
