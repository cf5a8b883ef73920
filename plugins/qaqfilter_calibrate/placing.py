"""Every record of a sample and every damaged copy, scored, and placed at every step of a recipe.

The chain is worked through with the clean sample alone. What is not of the clean rows that reach
a step (copies, and clean records that an earlier step dropped) is placed there one at a time: a
copy stands in the place of its original, and nothing else is changed. So a selector that compares
records, by ranks of its own or by likeness, sees the clean sample with one record spoilt. The keep
rule is the clean rows' own, frozen (`ruler.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qaqfilter import Bools, Floats, Ints, Observer, Recipe, Record, Silent
from qaqfilter.asking import Models
from qaqfilter.chain import Chain, tables_of
from qaqfilter.columns import Columns
from qaqfilter.deciding import score_step, strata_column
from qaqfilter.groups import Group
from qaqfilter.keep import Keep
from qaqfilter.recipe import Step
from qaqfilter.sampling import Held, surveyed
from qaqfilter.selectors import Decides, Scores
from qaqfilter.stream import RecordStream
from qaqfilter_calibrate.copies import Copies
from qaqfilter_calibrate.ruler import Judged, Placed, Ruler


@dataclass(frozen=True, slots=True)
class StepPlaces:
    """What one step makes of all rows: the sample's first, then the copies.

    Attributes
    ----------
    values: the step's first column, NaN where undefined.
    ranks: by the step's keep rule, where that ranks; else None.
    inside: the same ranks as rank bounds meet them.
    kept: by this step alone, whatever others decide.
    """

    step: Step
    values: Floats
    ranks: Floats | None
    inside: Floats | None
    kept: Bools


def place_all(
    recipe: Recipe, observer: Observer, clean: Sequence[Record], copies: Copies, *, share: float
) -> tuple[list[StepPlaces], Bools]:
    """The steps in order, and of which clean records nothing is left at the chain's end.

    `share` is that of the sample in the input: counts (top, quota) are scaled by it. Raises what a
    run raises.
    """
    as_written = recipe.steps
    recipe = replace(recipe, steps=tuple(_scaled(step, share) for step in recipe.steps))
    stream = surveyed(RecordStream(Held([*clean, *copies.records]), recipe.input))
    columns = Columns(stream.records, units=stream.units)
    fit_on = surveyed(RecordStream(Held(clean), recipe.input))
    models = Models(recipe, recipe.manager, observer, stream, columns, lambda: None, fit_on=fit_on)
    chain = Chain(recipe, recipe.manager, observer, stream, columns, models, tells=False)
    chain.score_everything()
    chain.observer = Silent()  # that a sample does not fill a quota tells nothing
    chain.alive = np.arange(len(clean))
    chain.decide_all()
    lost_at = chain.fates.step[: len(clean)]
    original = np.concatenate([np.arange(len(clean)), copies.original])
    observer.started("placing", len(original) * len(recipe.steps))
    found = []
    for number, step in enumerate(recipe.steps):
        alive = np.flatnonzero((lost_at < 0) | (lost_at >= number))
        places = _placed(step, columns, alive, original, lost_at == number)
        found.append(replace(places, step=as_written[number]))
        observer.advanced(len(original), 0)
    observer.finished()
    return found, lost_at >= 0


def _scaled(step: Step, share: float) -> Step:
    """The step with counts of the whole input made those of the sample."""
    keep = step.keys.keep
    if keep is None or (keep.top is None and keep.quota is None):
        return step
    changed: dict[str, object] = {}
    if keep.top is not None:
        changed["top"] = _count(keep.top, share)
    if isinstance(keep.quota, dict):
        changed["quota"] = {name: _count(limit, share) for name, limit in keep.quota.items()}
    elif keep.quota is not None:
        changed["quota"] = _count(keep.quota, share)
    scaled = keep.model_copy(update=changed)
    return replace(step, keys=step.keys.model_copy(update={"keep": scaled}))


def _count(limit: int | float | str, share: float) -> int | float | str:
    return max(1, round(limit * share)) if isinstance(limit, int) and limit else limit


def _placed(step: Step, columns: Columns, alive: Ints, original: Ints, lost: Bools) -> StepPlaces:
    """One step; `alive` are the clean rows that reach it, `lost` those that it drops."""
    kept = np.ones(len(original), dtype=np.bool_)
    kept[: len(lost)] = ~lost
    if isinstance(step.selector, Scores | Decides):
        _score_alone(step, columns, alive, original, kept)
    values = columns.number(f"{step.id}.{step.selector.columns[0]}")
    keep = step.keys.keep
    if keep is None:
        return StepPlaces(step, values, None, None, kept)
    places = _placed_by_rule(step, keep, columns, alive, original)
    if keep.per_record:
        return StepPlaces(step, values, None, None, places.kept)
    return StepPlaces(step, values, places.rank, places.inside, places.kept)


def _score_alone(step: Step, columns: Columns, alive: Ints, original: Ints, kept: Bools) -> None:
    """Score each other row among the clean ones, in the place of its original, and decide."""
    others = np.setdiff1d(np.arange(len(original)), alive)
    places = np.searchsorted(alive, original[others])
    for row, place in zip(others.tolist(), places.tolist(), strict=True):
        there = place < len(alive) and alive[place] == original[row]
        rows = np.concatenate([alive[:place], [row], alive[place + there :]])
        table, scored = tables_of(step, rows, columns)
        scored.rows = original[scored.rows]
        table.rows = original[rows]
        for name, values in score_step(step, scored).items():
            columns.number(f"{step.id}.{name}")[row] = values[place]
            table.columns[name] = table.columns[f"{step.id}.{name}"] = values
        if isinstance(step.selector, Decides):
            kept[row] = step.selector.decide(table).kept[place]


def _placed_by_rule(
    step: Step, keep: Keep, columns: Columns, alive: Ints, original: Ints
) -> Placed:
    """All rows by the keep rule of the clean ones."""
    values = columns.number(f"{step.id}.{step.selector.columns[0]}")
    name = strata_column(step)
    by = None if name is None else columns.number(name)
    bins = step.keys.strata.bins if step.keys.strata else 1
    group = _group(step, columns)
    codes = None if group is None else group.codes
    clean = Judged(
        values[alive],
        original[alive],
        None if by is None else by[alive],
        None if codes is None else codes[alive],
    )
    ruler = Ruler(keep, clean, bins=bins, words=None if group is None else group.words)
    return ruler.place(Judged(values, original, by, codes))


def _group(step: Step, columns: Columns) -> Group | None:
    if step.keys.group is None:
        return None
    name = step.group_column or f"{step.id}.group"
    numbers = columns.numbers.get(name)
    return columns.group(name) if numbers is None else Group.of_numbers(numbers)
