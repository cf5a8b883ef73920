"""`qaqfilter score`: the half of a run that needs models."""

from __future__ import annotations

from pathlib import Path

import click

from qaqfilter.api import score_recipe
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


@click.command(
    name="score",
    short_help="Score what the chain gets to see; write no records.",
    epilog="Example: qaqfilter score recipe.yaml --limit 1000",
)
@recipe_argument
@set_option
@plugin_option
@limit_option
@click.option("--all", "everything", is_flag=True, help="Score every record for every step.")
@replace_option
@json_option
def command(
    *,
    recipe: Path,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    limit: int | None,
    everything: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Score the records that the chain gets to see; keep and write none.

    `qaqfilter select` decides by the numbers, as often as you like and without a model.
    """
    with make_observer() as observer:
        report = score_recipe(
            recipe,
            overrides=overrides,
            plugins=plugins,
            limit=limit,
            everything=everything,
            replace=replace,
            observer=observer,
        )
    show_report(report, as_json=as_json)
