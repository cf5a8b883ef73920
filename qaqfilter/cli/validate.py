"""`qaqfilter validate`: check a recipe without reading data or loading a model."""

from __future__ import annotations

from pathlib import Path

import click

from qaqfilter.api import load_recipe
from qaqfilter.cli.options import json_option, plugin_option, recipe_argument, set_option
from qaqfilter.cli.progress import log_shown
from qaqfilter.cli.say import say, say_json
from qaqfilter.errors import RecipeError
from qaqfilter.manifest import as_written


@click.command(
    name="validate",
    epilog="Example: qaqfilter validate recipe.yaml",
)
@recipe_argument
@set_option
@plugin_option
@json_option
def command(
    recipe: Path, overrides: tuple[str, ...], plugins: tuple[Path, ...], as_json: bool
) -> int:
    """Check a recipe; list every problem with its place."""
    try:
        with log_shown():
            checked = load_recipe(recipe, overrides=overrides, plugins=plugins)
    except RecipeError as error:
        if not as_json:
            raise
        say_json({"valid": False, "problems": error.problems, "recipe": None})
        return error.exit_code
    if as_json:
        say_json({"valid": True, "problems": [], "recipe": as_written(checked.resolved())})
        return 0
    steps = ", ".join(f"{step.id} ({step.block.component.name})" for step in checked.steps)
    say(f"{recipe}: ok. Steps: {steps}. Models: {', '.join(checked.models) or 'none'}.")
    return 0
