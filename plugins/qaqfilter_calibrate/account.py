"""The account of a calibration, as the plain data that calibration.json holds.

Flat: every list holds objects of one kind, which name their step and damage. A share is between 0
and 1, an interval `<number>_low`, `<number>_high` holds the middle 95 % of the resamples; null is a
number that does not exist.

format, name, recipe        1; the recipe's name; the recipe with every default
seed, records, cost         what was asked for; how many records the sample has
bootstrap, level            resamples, and what an interval holds of them
input                       {records, bad, digest}: all of the input
notes                       what to know of these numbers, as text
damages                     {damage, summary, records}: how many records could be damaged so
steps                       {step, use, column, judged, keeps, keep, nulls, cost}: judged is value,
                            rank or itself; keeps is high, low, between, itself or scores; cost is
                            the share of the sample that this step drops, nulls among them (of
                            itself, no number is a null)
catches                     {step, damage, records, nulls, caught, auc, one_sided, two_sided}, one
                            for each step and damage: caught at the recipe's thresholds; auc by the
                            column, in the direction of `keeps` (high, where that has none);
                            one_sided, two_sided: caught by the best cut that costs `cost`
chain                       {cost}: the share of the sample that any step drops
chain_catches               {damage, records, caught, by_step}: by_step has for each step the share
                            that it is the first to drop
suggestions                 {step, keep, yaml, low, high, catch, caught_elsewhere, cost_elsewhere}:
                            low and high are bounds of the value or rank, null for none; catch is
                            the mean over the damages; elsewhere: by bounds chosen on resamples, on
                            the records that those left out
histograms                  {step, column, edges, clean, damages: {damage: counts}}: of the column;
                            what lies outside of the edges is counted in the bins at the ends
missed                      {damage, id, part, ordinal, query, answer, values: {step: number},
                            ranks: {step: number}}: copies that the chain keeps, a few of each
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from qaqfilter import Bools, Floats, Ints
from qaqfilter_calibrate.copies import Copies
from qaqfilter_calibrate.judging import Judgement
from qaqfilter_calibrate.plain import Data, number
from qaqfilter_calibrate.statistics import Draws, auc, caught_by, middle
from qaqfilter_calibrate.suggesting import suggestion

BINS = 30
EXAMPLES = 3
"""Missed copies that are shown of each damage."""
TEXT = 2000
"""Characters of a missed copy's texts."""


def _with_interval(name: str, draws: Draws, every: Ints, measure: Callable[[Ints], float]) -> Data:
    low, high = draws.interval(measure)
    return {
        name: number(measure(every)),
        f"{name}_low": number(low),
        f"{name}_high": number(high),
    }


def _share(flags: Bools, there: Bools | None = None) -> Callable[[Ints], float]:
    """The share of True among the drawn ones that are there."""

    def measure(places: Ints) -> float:
        drawn = places if there is None else places[there[places]]
        return float(flags[drawn].mean()) if len(drawn) else math.nan

    return measure


class Account:
    """Everything that is said of a calibration, from what the steps make of all rows."""

    def __init__(self, judged: Sequence[Judgement], lost: Bools, draws: Draws) -> None:
        self.judged = judged
        self.lost = lost
        self.draws = draws
        self.copies: Copies = judged[0].copies
        self.every = np.arange(self.copies.size)

    def steps(self) -> Iterator[Data]:
        """What the steps are, and what each costs."""
        for one in self.judged:
            step = one.places.step
            keep = one.keep
            yield {
                "step": one.id,
                "use": step.block.component.name,
                "column": f"{one.id}.{step.selector.columns[0]}",
                "judged": one.judged,
                "keeps": one.direction,
                "keep": keep and keep.model_dump(mode="json", exclude_defaults=True),
                "nulls": one.nulls,
                **_with_interval("cost", self.draws, self.every, _share(one.lost)),
            }

    def catches(self) -> Iterator[Data]:
        """Each step and damage."""
        for one in self.judged:
            for kind, name in enumerate(self.copies.names):
                there = one.there[kind]
                yield {
                    "step": one.id,
                    "damage": name,
                    "records": int(there.sum()),
                    "nulls": one.nulls_of(kind),
                    **_with_interval(
                        "caught", self.draws, self.every, _share(one.caught[kind], there)
                    ),
                    **_with_interval("auc", self.draws, self.every, self._auc(one, kind)),
                    **self._equal_cost(one, kind),
                }

    def _auc(self, one: Judgement, kind: int) -> Callable[[Ints], float]:
        sign = -1.0 if one.direction == "low" else 1.0
        clean, damaged, there = sign * one.clean, sign * one.damaged[kind], one.there[kind]
        return lambda places: auc(clean[places], damaged[places[there[places]]])

    def _equal_cost(self, one: Judgement, kind: int) -> Data:
        """The best that a cut could catch, chosen anew in each resample."""
        damaged, there = one.to_cut[kind], one.there[kind]

        def measure(places: Ints) -> tuple[float, float]:
            if one.itself:
                return math.nan, math.nan
            cuts = one.cuts(places)
            values = damaged[places[there[places]]]
            return tuple(float(caught_by(c, values).max()) for c in (cuts.ends(), cuts))  # type: ignore[return-value]

        here = measure(self.every)
        drawn = np.array([measure(places) for places in self.draws])
        found: Data = {}
        for at, name in enumerate(("one_sided", "two_sided")):
            low, high = middle(drawn[:, at])
            found |= {
                name: number(here[at]),
                f"{name}_low": number(low),
                f"{name}_high": number(high),
            }
        return found

    def chain(self) -> Data:
        """What the chain costs."""
        return _with_interval("cost", self.draws, self.every, _share(self.lost))

    def chain_catches(self) -> Iterator[Data]:
        """What any step catches, and which is the first to do so."""
        any_step = np.any([one.caught for one in self.judged], axis=0)
        for kind, name in enumerate(self.copies.names):
            there = self.judged[0].there[kind]
            left, by_step = there.copy(), {}
            for one in self.judged:
                first = left & one.caught[kind]
                by_step[one.id] = number(first.sum() / there.sum()) if there.any() else None
                left &= ~first
            yield {
                "damage": name,
                "records": int(there.sum()),
                **_with_interval("caught", self.draws, self.every, _share(any_step[kind], there)),
                "by_step": by_step,
            }

    def suggestions(self) -> Iterator[Data]:
        """Bounds for each step by itself that cost no more than `cost`."""
        for one in self.judged:
            if not one.itself and not np.isnan(one.clean).all():
                yield suggestion(one, self.draws)

    def histograms(self) -> Iterator[Data]:
        """Clean beside each damage, in the same bins."""
        for one in self.judged:
            values = one.places.values
            known = values[~np.isnan(values)]
            if not len(known):
                continue
            low, high = np.quantile(known, [0.005, 0.995]).tolist()
            edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
            copies = values[self.copies.size :]
            yield {
                "step": one.id,
                "column": f"{one.id}.{one.places.step.selector.columns[0]}",
                "edges": edges.tolist(),
                "clean": _counts(values[: self.copies.size], edges),
                "damages": {
                    name: _counts(copies[self.copies.damage == kind], edges)
                    for kind, name in enumerate(self.copies.names)
                },
            }

    def missed(self) -> Iterator[Data]:
        """Copies that every step keeps: of each damage some, spread over the sample."""
        kept = np.all([one.places.kept[self.copies.size :] for one in self.judged], axis=0)
        for kind, name in enumerate(self.copies.names):
            places = np.flatnonzero(kept & (self.copies.damage == kind))
            spread = np.linspace(0, len(places) - 1, min(EXAMPLES, len(places))).astype(np.int64)
            for place in places[spread].tolist():
                record, row = self.copies.records[place], self.copies.size + place
                yield {
                    "damage": name,
                    "id": record.id,
                    "part": record.origin.part,
                    "ordinal": record.origin.ordinal,
                    "query": record.query[:TEXT],
                    "answer": record.answer[:TEXT],
                    "values": {one.id: number(one.places.values[row]) for one in self.judged},
                    "ranks": {
                        one.id: number(one.places.ranks[row])
                        for one in self.judged
                        if one.places.ranks is not None
                    },
                }


def _counts(values: Floats, edges: Floats) -> list[int]:
    inside = np.clip(values[~np.isnan(values)], edges[0], edges[-1])
    counts: list[int] = np.histogram(inside, edges)[0].tolist()
    return counts
