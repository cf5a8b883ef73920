"""One step's numbers as they are judged: a coordinate, its direction, the keep rule's form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from qaqfilter import Bools, Floats, Ints
from qaqfilter.keep import Keep
from qaqfilter.selectors import Decides
from qaqfilter_calibrate.copies import Copies
from qaqfilter_calibrate.placing import StepPlaces
from qaqfilter_calibrate.statistics import Cuts, rank_cuts, value_cuts

Direction = Literal["high", "low", "between", "itself", "scores"]


@dataclass(frozen=True)
class Judgement:
    """A step over the sample and over the copies, which are matrices ``[damages, size]``.

    A record that has no copy of a damage has False in `there`, and its number means nothing.
    `cost` is the share of the sample that cuts may drop.
    """

    places: StepPlaces
    copies: Copies
    cost: float

    @property
    def id(self) -> str:
        """The step's."""
        return self.places.step.id

    @property
    def keep(self) -> Keep | None:
        """The recipe's rule."""
        return self.places.step.keys.keep

    @property
    def itself(self) -> bool:
        """Whether the selector decides by itself: then there is no number to cut."""
        return isinstance(self.places.step.selector, Decides)

    @property
    def judged(self) -> str:
        """What the coordinate is: a value, or a rank in the step's bins and groups."""
        if self.itself:
            return "itself"
        return "value" if self.places.ranks is None else "rank"

    @property
    def direction(self) -> Direction:
        """Which end of the coordinate the keep rule keeps."""
        if self.itself:
            return "itself"
        if self.keep is None:
            return "scores"
        low, high = _drops(self.keep)
        if low and high:
            return "between"
        return "low" if high is not self.keep.invert else "high"

    @cached_property
    def _coordinate(self) -> Floats:
        return self.places.values if self.places.ranks is None else self.places.ranks

    @cached_property
    def _grid(self) -> tuple[Ints, Bools]:
        rows, there = self.copies.rows()
        return rows + self.copies.size, there

    @property
    def there(self) -> Bools:
        """Which records have a copy of each damage."""
        return self._grid[1]

    @cached_property
    def clean(self) -> Floats:
        """The coordinate of the sample; NaN for nulls, and everywhere of a step of its own mind."""
        found = self._coordinate[: self.copies.size]
        return np.full_like(found, np.nan) if self.itself else found

    @cached_property
    def damaged(self) -> Floats:
        """The coordinate of the copies."""
        found = self._coordinate[self._grid[0]]
        return np.full_like(found, np.nan) if self.itself else found

    @cached_property
    def to_cut(self) -> Floats:
        """The coordinate of the copies as bounds meet it."""
        inside = self.places.inside
        return self.damaged if inside is None else inside[self._grid[0]]

    def cuts(self, places: Ints) -> Cuts:
        """The cuts that cost no more than `cost` of some clean records.

        Ranks are those among the whole sample, and so are their cuts.
        """
        return self._rank_cuts or value_cuts(self.clean[places], self.cost)

    @cached_property
    def _rank_cuts(self) -> Cuts | None:
        return None if self.places.ranks is None else rank_cuts(self.clean, self.cost)

    @property
    def nulls(self) -> int:
        """How many of the sample have no number; none where the step decides without one."""
        return 0 if self.itself else int(np.isnan(self.clean).sum())

    def nulls_of(self, kind: int) -> int:
        """The same of the copies by one damage."""
        return 0 if self.itself else int(np.isnan(self.damaged[kind][self.there[kind]]).sum())

    @cached_property
    def lost(self) -> Bools:
        """Which of the sample the step drops."""
        return ~self.places.kept[: self.copies.size]

    @cached_property
    def caught(self) -> Bools:
        """Which of the copies the step drops."""
        found: Bools = ~self.places.kept[self._grid[0]]
        return found

    def as_keep(self, low: float, high: float) -> dict[str, Any] | None:
        """A keep rule of the step's form for ``low <= x <= high``; None where nothing is cut."""
        bounds = {"min": low, "max": high}
        if self.judged == "rank":
            ends = [round(max(0.0, low), 6), round(min(1.0, high), 6)]
            return None if ends == [0.0, 1.0] else {"rank": ends}
        return {name: bound for name, bound in bounds.items() if np.isfinite(bound)} or None


def _drops(keep: Keep) -> tuple[bool, bool]:
    """Whether a rule drops low numbers, and whether it drops high ones."""
    low, high = (0.0, 1.0) if keep.rank is None else keep.rank
    drops_low = low > 0 or any(
        getattr(keep, name) is not None for name in ("min", "above", "top", "fraction", "quota")
    )
    drops_high = high < 1 or keep.max is not None or keep.below is not None
    return drops_low, drops_high
