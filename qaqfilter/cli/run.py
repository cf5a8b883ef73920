"""`qaqfilter run`: do what a recipe says."""

from __future__ import annotations

from pathlib import Path

import click

from qaqfilter.api import run as run_from_python
from qaqfilter.cli.options import (
    limit_option,
    plugin_option,
    recipe_argument,
    replace_option,
    set_option,
)
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.summary import print_summary


@click.command(name="run")
@recipe_argument
@set_option
@plugin_option
@limit_option
@replace_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    limit: int | None,
    replace: bool,
) -> None:
    """Run a recipe: read, score, filter, write."""
    with make_observer() as observer:
        report = run_from_python(
            recipe,
            overrides=overrides,
            plugins=plugins,
            limit=limit,
            replace=replace,
            observer=observer,
        )
    print_summary(report)
