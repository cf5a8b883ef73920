"""`qaqfilter validate`: check a recipe without reading data or loading a model."""

from __future__ import annotations

from pathlib import Path

import click

from qaqfilter.api import validate
from qaqfilter.cli.options import plugin_option, recipe_argument, set_option
from qaqfilter.cli.say import say


@click.command(name="validate")
@recipe_argument
@set_option
@plugin_option
def command(recipe: Path, overrides: tuple[str, ...], plugins: tuple[Path, ...]) -> None:
    """Check a recipe; list every problem with its place."""
    checked = validate(recipe, overrides=overrides, plugins=plugins)
    steps = ", ".join(f"{step.id} ({step.block.component.name})" for step in checked.steps)
    say(f"{recipe}: ok. Steps: {steps}. Models: {', '.join(checked.models) or 'none'}.")
