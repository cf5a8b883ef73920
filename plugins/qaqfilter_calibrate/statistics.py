"""Areas under curves, cuts of an equal cost, and the bootstrap.

AUC = P(clean > damaged) + P(clean = damaged) / 2 over all pairs; 0.5 is no signal.

A cut keeps what is between two bounds. Its cost is the share of the clean records that it drops,
nulls among them, since a null passes no rule. Bounds lie half way between two neighbouring clean
numbers, so that no bound is a record's own number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qaqfilter import Bools, Floats, Ints

LEVEL = 0.95
"""Of the intervals."""


def auc(clean: Floats, damaged: Floats) -> float:
    """How often a clean number is above a damaged one, ties half; NaN where either has none."""
    clean = np.sort(clean[~np.isnan(clean)])
    damaged = damaged[~np.isnan(damaged)]
    if not len(clean) or not len(damaged):
        return float("nan")
    low = np.searchsorted(clean, damaged, side="left")
    high = np.searchsorted(clean, damaged, side="right")
    # Whole numbers up to the division: exact.
    return float(int((2 * len(clean) - low - high).sum()) / (2 * len(clean) * len(damaged)))


class Cuts(NamedTuple):
    """Candidates: kept is ``low <= x <= high``. The first has no lower bound, the last no upper."""

    low: Floats
    high: Floats

    def ends(self) -> Cuts:
        """The two with one bound."""
        return Cuts(self.low[[0, -1]], self.high[[0, -1]])


def cuts_at(clean: Floats, cost: float) -> Cuts:
    """All ways to drop the most clean records that `cost` allows, from both ends together.

    `clean` has NaN for nulls, which are dropped anyway; the more there are, the less is left to
    drop. Equal numbers stay together, so a cut may drop fewer.
    """
    known = np.sort(clean[~np.isnan(clean)])
    # The share that was written: 0.29 of 100 is 29, though the product is just below.
    budget = int(np.floor(cost * len(clean) + 1e-9)) - (len(clean) - len(known))
    below = np.arange(max(0, min(budget, len(known) - 1)) + 1)
    above = below[::-1]
    edges = np.concatenate([[-np.inf], known[:-1] + np.diff(known) / 2, [np.inf]])
    if not len(known):
        return Cuts(np.array([-np.inf]), np.array([np.inf]))
    # Of a run of equal numbers, all stay.
    first = np.searchsorted(known, known[below], side="left")
    last = np.searchsorted(known, known[len(known) - 1 - above], side="right")
    return Cuts(edges[first], edges[last])


def caught_by(cuts: Cuts, values: Floats) -> Floats:
    """The share of `values` that each cut drops, nulls (NaN) among them; NaN of no values."""
    if not len(values):
        return np.full(len(cuts.low), np.nan)
    known = np.sort(values[~np.isnan(values)])
    below = np.searchsorted(known, cuts.low, side="left")
    above = len(known) - np.searchsorted(known, cuts.high, side="right")
    share: Floats = (len(values) - len(known) + below + above) / len(values)
    return share


@dataclass(frozen=True, slots=True)
class Draws:
    """Resamples of a sample's records: ``[times, size]`` places, with replacement.

    Copies go with their record: what is drawn is a record and all that was made of it.
    """

    places: Ints

    @classmethod
    def of(cls, size: int, times: int, seed: int) -> Draws:
        """The same seed, the same draws."""
        rng = np.random.default_rng([seed, size, times])
        return cls(rng.integers(0, size, size=(times, size)))

    def __iter__(self) -> Iterator[Ints]:
        yield from self.places

    def interval(self, measure: Callable[[Ints], float]) -> tuple[float, float]:
        """The middle 95 % of a number over the resamples; NaN where it never exists."""
        return middle(np.array([measure(places) for places in self.places]))


def middle(found: Floats) -> tuple[float, float]:
    """The interval that holds the middle `LEVEL`; what is NaN is left out.

    Of numbers that were found, and none between them: a bound may be infinite.
    """
    found = found[~np.isnan(found)]
    if not len(found):
        return float("nan"), float("nan")
    low = np.quantile(found, (1 - LEVEL) / 2, method="inverted_cdf")
    high = np.quantile(found, (1 + LEVEL) / 2, method="inverted_cdf")
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Choice:
    """The cut that catches most on average over the damages; `catch` is that average."""

    low: float
    high: float
    catch: float


def choose(clean: Floats, damaged: Floats, there: Bools, cost: float) -> Choice:
    """`damaged` and `there` are ``[damages, size]``; a damage that made no copy does not count.

    Of cuts that catch equally much, one with a single bound, if there is one.
    """
    cuts = cuts_at(clean, cost)
    catches = [caught_by(cuts, row[here]) for row, here in zip(damaged, there, strict=True)]
    catches = [catch for catch in catches if not np.isnan(catch).any()]
    if not catches:
        return Choice(-np.inf, np.inf, float("nan"))
    mean = np.mean(catches, axis=0)
    simple = np.isinf(cuts.low) | np.isinf(cuts.high)
    best = int(np.lexsort((~simple, -mean))[0])
    return Choice(float(cuts.low[best]), float(cuts.high[best]), float(mean[best]))
