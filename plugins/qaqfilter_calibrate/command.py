"""The command line of `calibrate`."""

from __future__ import annotations

from pathlib import Path

import click

from qaqfilter.cli.options import json_option, plugin_option, recipe_argument, set_option
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.say import plain_console, say, say_json
from qaqfilter.manager import load_plugins
from qaqfilter.recipe import load_recipe
from qaqfilter_calibrate import calibrating, showing
from qaqfilter_calibrate.saving import free_place, save


@click.command(
    name="calibrate",
    short_help="Damage a sample of the data, and see what a recipe catches.",
    epilog="Example: qaqfilter calibrate recipe.yaml -n 100 --damage swapped --damage refusal",
)
@recipe_argument
@click.option(
    "-n",
    "--records",
    type=click.IntRange(min=2),
    default=200,
    show_default=True,
    help="How many records, drawn at random; each is scored once, and once for each damage.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all chance."
)
@click.option(
    "--damage",
    "damages",
    multiple=True,
    metavar="NAME",
    help="Do this damage only. May be given more than once; all that plugins offer by default.",
)
@click.option(
    "--cost",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="The share of good data that you are ready to lose.",
)
@set_option
@plugin_option
@click.option("--replace", is_flag=True, help="Overwrite an earlier calibration there.")
@json_option
def calibrate(
    *,
    recipe: Path,
    records: int,
    seed: int,
    damages: tuple[str, ...],
    cost: float,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    replace: bool,
    as_json: bool,
) -> None:
    """Say how much of known damage RECIPE catches in your data, and how much good data it costs.

    A sample is drawn, copies of it are damaged, and all are scored by the recipe's models. Scores
    are kept in the score store; calibration.json goes into the folder of the recipe's output.
    """
    loaded = load_recipe(recipe, load_plugins(plugins), overrides)
    chosen = calibrating.load_damages(loaded, damages)
    place = free_place(loaded.output.path, replace=replace)
    with make_observer() as observer:
        data = calibrating.calibrate(
            loaded, observer, chosen, records=records, seed=seed, cost=cost
        )
    if not as_json:  # before anything can go wrong with the file
        console = plain_console()
        for table in showing.tables(data):
            console.print(table)
        for line in (showing.legend(data), *showing.suggested(data), *data["notes"]):
            say(line)
    if place is None:
        say("nothing is saved: output.path is -, and there is no folder to save it in", err=True)
    else:
        say(f"saved: {save(place, data)}", err=as_json)
    if as_json:
        say_json(data)
