"""Areas under curves, cuts of an equal cost, and the bootstrap.

AUC = P(clean > damaged) + P(clean = damaged) / 2 over all pairs; 0.5 is no signal.

A cut keeps what is between two bounds. Its cost is the share of the clean records that it drops,
nulls among them, since a null passes no rule. Bounds of values lie half way between two clean
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qaqfilter import Bools, Floats, Ints

LEVEL = 0.95
"""Of the intervals."""
GRID = 20
"""Steps in which a cost is divided between the two ends of a rank."""


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
    """Candidates: kept is ``low <= x <= high``; an infinite bound is none.

    The first is that without any bound, or one with a single bound.
    """

    low: Floats
    high: Floats

    @property
    def simple(self) -> Bools:
        """Which have one bound at most."""
        return np.isinf(self.low) | np.isinf(self.high)

    def ends(self) -> Cuts:
        """Those with one bound at most."""
        return Cuts(self.low[self.simple], self.high[self.simple])


def value_cuts(clean: Floats, cost: float) -> Cuts:
    """All ways to drop the most clean records that `cost` allows, from both ends together.

    `clean` has NaN for nulls, which are dropped anyway; the more there are, the less is left to
    drop. Equal numbers stay together, so a cut may drop fewer. Where an end drops none, its bound
    is the outermost clean number: what lies beyond is caught at no cost.
    """
    known = np.sort(clean[~np.isnan(clean)])
    budget = min(_budget(clean, cost), len(known) - 1)
    if budget < 0:
        return _no_cuts()
    edges = np.concatenate([known[:1], known[:-1] + np.diff(known) / 2, known[-1:]])
    below = np.arange(budget + 1)
    # Of a run of equal numbers, all stay.
    first = np.searchsorted(known, known[below], side="left")
    last = np.searchsorted(known, known[len(known) - 1 - below[::-1]], side="right")
    low, high = edges[first], edges[last]
    return Cuts(
        np.concatenate([[-np.inf], low, low[-1:]]), np.concatenate([high[:1], high, [np.inf]])
    )


def rank_cuts(clean: Floats, cost: float) -> Cuts:
    """The same for ranks, with bounds of a grid: a rank bound says itself what it drops.

    Of few records in a bin the ends may hold more than their share, so what the cuts cost is
    counted too. High bounds are exclusive, as those of a keep rule's `rank`.
    """
    budget = _budget(clean, cost)
    if budget <= 0:
        return _no_cuts()
    share = budget / (~np.isnan(clean)).sum()
    steps = np.round(np.linspace(0, share, GRID + 1), 6)
    # Large shares first: among cuts that drop the same records they say best what they cost.
    pairs = [
        (low, high) for low in steps[::-1] for high in steps[::-1] if low + high <= share + 1e-6
    ]
    below, above = np.array(pairs).T
    cuts = Cuts(
        np.where(below > 0, below, -np.inf),
        np.where(above > 0, np.nextafter(np.round(1 - above, 6), 0), np.inf),
    )
    known = clean[~np.isnan(clean)]
    fits = caught_by(cuts, known) * len(known) <= budget + 1e-9
    return Cuts(cuts.low[fits], cuts.high[fits])


def _no_cuts() -> Cuts:
    """Where nothing may be dropped."""
    return Cuts(np.array([-np.inf]), np.array([np.inf]))


def _budget(clean: Floats, cost: float) -> int:
    """How many known clean records may go; below 0 where the nulls alone cost more."""
    # The share that was written: 0.29 of 100 is 29, though the product is just below.
    return int(np.floor(cost * len(clean) + 1e-9)) - int(np.isnan(clean).sum())


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


def choose(cuts: Cuts, damaged: Floats, there: Bools) -> Choice:
    """`damaged` and `there` are ``[damages, size]``; a damage that made no copy does not count.

    Of cuts that catch equally much, one with a single bound, if there is one; the first of those.
    """
    catches = [caught_by(cuts, row[here]) for row, here in zip(damaged, there, strict=True)]
    catches = [catch for catch in catches if not np.isnan(catch).any()]
    if not catches:
        return Choice(-np.inf, np.inf, float("nan"))
    mean = np.mean(catches, axis=0)
    best = int(np.lexsort((~cuts.simple, -np.round(mean, 12)))[0])
    return Choice(float(cuts.low[best]), float(cuts.high[best]), float(mean[best]))
