"""`qaqfilter select`: the half of a run that decides and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from qaqfilter.api import select_recipe
from qaqfilter.cli.options import (
    json_option,
    plugin_option,
    recipe_argument,
    replace_option,
    set_option,
)
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.summary import show_report


@click.command(
    name="select",
    short_help="Decide by the numbers that are there; load no model.",
    epilog="Example: qaqfilter select recipe.yaml --set steps.qaq.keep.fraction=0.1 --dry-run",
)
@recipe_argument
@set_option
@plugin_option
@click.option(
    "--scores",
    help="Folder or address of the run whose numbers are used; the recipe's own by default.",
)
@click.option(
    "--unscored",
    type=click.Choice(["refuse", "reject"]),
    default="refuse",
    help="What to do about records that get to a step for which they were never scored.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be kept, and write nothing.")
@replace_option
@json_option
def command(
    *,
    recipe: Path,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    scores: str | None,
    unscored: Literal["refuse", "reject"],
    dry_run: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Decide by the numbers that `score` or `run` left, and write; no model is loaded."""
    with make_observer() as observer:
        report = select_recipe(
            recipe,
            overrides=overrides,
            plugins=plugins,
            scores=scores,
            unscored=unscored,
            write=not dry_run,
            replace=replace,
            observer=observer,
        )
    show_report(report, as_json=as_json)
