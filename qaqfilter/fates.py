"""What becomes of each record of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qaqfilter.types import Decisions, Floats, Ints, Rejection

AT_ONCE = 256
"""Rows that are turned to Python's numbers at a time."""


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of each row: `step` is -1 for kept, else an index into `steps`."""

    steps: list[str]
    reasons: list[str]
    step: NDArray[np.int16]
    reason: NDArray[np.int16]
    value: Floats
    bound: Floats

    @classmethod
    def all_kept(cls, size: int, steps: list[str]) -> Fates:
        """Before the first step."""
        codes = np.full((2, size), -1, dtype=np.int16)
        return cls(steps, [], codes[0], codes[1], np.full(size, np.nan), np.full(size, np.nan))

    def put(self, step: str, rows: Ints, decisions: Decisions) -> None:
        """Note what a step decided about `rows`."""
        out = ~decisions.kept
        gone, offset = rows[out], len(self.reasons)
        self.reasons.extend(decisions.reasons)
        self.step[gone] = self.steps.index(step)
        self.reason[gone] = decisions.reason[out] + offset
        self.value[gone] = decisions.value[out]
        self.bound[gone] = decisions.bound[out]

    def rejections(self) -> Iterator[Rejection | None]:
        """Why each row was thrown out, or None for a kept one, in order."""
        # Python's numbers, a few at once: taken one by one from the arrays they cost more than
        # all else that is done for a row here, and all together they fill the memory.
        for first in range(0, len(self.step), AT_ONCE):
            yield from self.some(slice(first, first + AT_ONCE))

    def some(self, here: slice) -> Iterator[Rejection | None]:
        """The same for some rows."""
        columns = (self.step, self.reason, self.value, self.bound)
        for step, reason, value, bound in zip(*(c[here].tolist() for c in columns), strict=True):
            if step < 0:
                yield None
            else:
                yield Rejection(
                    self.steps[step], self.reasons[reason], _or_none(value), _or_none(bound)
                )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
