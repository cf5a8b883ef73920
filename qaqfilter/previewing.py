"""A recipe over a few records: the numbers and the fate of each; nothing is written but scores."""

from __future__ import annotations

import math

from qaqfilter.asking import Models
from qaqfilter.chain import Chain
from qaqfilter.columns import Columns
from qaqfilter.manager import PluginManager
from qaqfilter.packing import is_packed
from qaqfilter.previewed import Preview, Previewed
from qaqfilter.protocols import Source
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer
from qaqfilter.sampling import Held, drawn, surveyed
from qaqfilter.stream import RecordStream
from qaqfilter.types import Record


def preview_recipe(
    recipe: Recipe,
    manager: PluginManager,
    observer: Observer,
    *,
    records: int = 20,
    random: int | None = None,
) -> Preview:
    """Work the chain over the first records, or over some drawn at random by a seed.

    Models are loaded, and the score store is used as in a run; no output is written. A model that
    is fitted on the input is fitted on these records alone. Raises what a run raises, but for
    TooManyBadRecords where the first records are taken.
    """
    source: Source = recipe.source.make()
    observer.started("reading", None)
    if random is None:
        taken, bad = _first(source, records)
    else:
        taken, bad = (
            drawn(
                surveyed(RecordStream(source, recipe.input, plugin=recipe.source.plugin)),
                records,
                random,
            ),
            (),
        )
    observer.advanced(len(taken), 0)
    observer.finished()
    stream = surveyed(RecordStream(Held(taken), recipe.input))
    columns = Columns(stream.records, units=stream.units)
    models = Models(recipe, manager, observer, stream, columns, lambda: None)
    chain = Chain(recipe, manager, observer, stream, columns, models, tells=False)
    chain.decide_all()
    numbers = _numbers(columns)
    return Preview(
        recipe.name,
        tuple(
            Previewed(record, {name: values[row] for name, values in numbers.items()}, rejection)
            for row, (record, rejection) in enumerate(
                zip(taken, chain.fates.rejections(), strict=True)
            )
        ),
        bad,
        tuple(s.id for s in recipe.steps if s.keys.keep and not s.keys.keep.per_record),
    )


def _first(source: Source, most: int) -> tuple[list[Record], tuple[str, ...]]:
    taken: list[Record] = []
    bad: list[str] = []
    for item in source.read():
        if isinstance(item, Record):
            taken.append(item)
        else:
            bad.append(f"{item.origin}: {item.error}")
        if len(taken) == most:
            break
    return taken, tuple(bad)


def _numbers(columns: Columns) -> dict[str, list[float | None]]:
    """Columns of the steps, then nats a token of every likelihood."""
    shown = {name: v for name, v in columns.numbers.items() if not is_packed(name)}
    found = {name: values.tolist() for name, values in shown.items()}
    for name in columns.likelihoods:
        found[f"{name}.nll"] = columns.pooled(name).nll.tolist()
    return {
        name: [None if math.isnan(value) else value for value in values]
        for name, values in found.items()
    }
