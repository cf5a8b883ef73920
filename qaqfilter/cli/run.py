"""`qaqfilter run`: do what a recipe says."""

from __future__ import annotations

from pathlib import Path

import click

from qaqfilter.api import run as run_from_python
from qaqfilter.cli.options import (
    json_option,
    limit_option,
    plugin_option,
    recipe_argument,
    replace_option,
    set_option,
)
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.summary import show_report
from qaqfilter.piping import standard_output


@click.command(
    name="run",
    epilog="Example: qaqfilter run recipe.yaml --set steps.qaq.keep.fraction=0.1",
)
@recipe_argument
@set_option
@plugin_option
@limit_option
@replace_option
@json_option
def command(
    *,
    recipe: Path,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    limit: int | None,
    replace: bool,
    as_json: bool,
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
            stdout=None if as_json else standard_output(),
        )
    show_report(report, as_json=as_json)
