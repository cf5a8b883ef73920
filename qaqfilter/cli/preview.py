"""`qaqfilter preview`: a recipe over a few records, each with its numbers and its fate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from qaqfilter.api import preview as preview_from_python
from qaqfilter.cli.options import json_option, plugin_option, recipe_argument, set_option
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.say import say, say_json
from qaqfilter.previewed import Preview, Previewed, as_data
from qaqfilter.printable import printable
from qaqfilter.types import Rejection

LINES = 3
"""Lines of a text that are shown."""
WIDTH = 88
"""Characters of a line that are shown."""


@click.command(name="preview", epilog="Example: qaqfilter preview recipe.yaml -n 5 --sort qaq.diff")
@recipe_argument
@click.option(
    "-n",
    "--records",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many records.",
)
@click.option(
    "--random",
    type=int,
    metavar="SEED",
    help="Draw them from all of the input by this seed, where the first ones are taken else.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by a column, the lowest number first.")
@click.option("--reverse", is_flag=True, help="With --sort: the highest first.")
@set_option
@plugin_option
@json_option
def command(
    *,
    recipe: Path,
    records: int,
    random: int | None,
    sort: str | None,
    reverse: bool,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Show what a recipe makes of a few records.

    Models are loaded, and scores are kept in the score store; no output is written.
    """
    with make_observer() as observer:
        found = preview_from_python(
            recipe,
            overrides=overrides,
            plugins=plugins,
            records=records,
            random=random,
            observer=observer,
        )
    shown = found.sorted_by(sort, reverse=reverse) if sort else found.records
    if as_json:
        say_json({**found.as_data(), "records": [as_data(one) for one in shown]})
        return
    for number, one in enumerate(shown, start=1):
        for line in _lines(number, one, sort):
            say(line)
        say("")
    for line in _notes(found):
        say(line)


def _lines(number: int, one: Previewed, sort: str | None) -> Iterator[str]:
    yield f"{number}. {printable(one.record.id)}: {_fate(one.rejection)}"
    steps = {name: value for name, value in one.numbers.items() if not name.endswith(".nll")}
    if sort:
        steps = {sort: one.numbers[sort]} | steps
    if steps:
        texts = (f"{name} {_number(value)}" for name, value in steps.items())
        yield f"   {', '.join(map(printable, texts))}"
    yield from _text("query", one.record.query)
    yield from _text("answer", one.record.answer)


def _text(name: str, text: str) -> Iterator[str]:
    """The first lines of a text, behind its name."""
    lines = text.splitlines() or [""]
    for index, line in enumerate(lines[:LINES]):
        more = index == LINES - 1 < len(lines) - 1 or len(line) > WIDTH
        heading = name if index == 0 else ""
        yield f"   {heading:<7}{printable(line[:WIDTH])}{'…' * more}".rstrip()


def _fate(rejection: Rejection | None) -> str:
    if rejection is None:
        return "kept"
    values = [f"value {_number(rejection.value)}"] * (rejection.value is not None)
    values += [f"bound {_number(rejection.bound)}"] * (rejection.bound is not None)
    return f"rejected by {rejection.step}: {', '.join([printable(rejection.reason), *values])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _notes(found: Preview) -> Iterator[str]:
    for bad in found.bad:
        yield f"bad record: {bad}"
    kept = sum(one.rejection is None for one in found.records)
    yield f"{kept} of {len(found.records)} records would be kept"
    if found.ranked:
        steps = ", ".join(found.ranked)
        yield (
            f"A rank over {len(found.records)} records is not a rank over all: in a run, {steps} "
            "may decide otherwise."
        )
