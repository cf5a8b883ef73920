"""Records that are scored in several places: which entries of a column are theirs, and their sums.

With `turns: each` a record has a unit for every exchange of its conversation, and a likelihood's
column an entry for every unit, in the order of the stream. All other columns are of records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qaqfilter.types import Floats, Ints, LikelihoodColumn

Combine = Literal["mean", "min", "max"]
"""How the scores of a record's units become the record's own."""


@dataclass(frozen=True, slots=True)
class Units:
    """The units of record r are entries ``starts[r]`` up to ``starts[r + 1]``, at least one.

    `starts` has a number for each record and one behind the last.
    """

    starts: Ints

    @classmethod
    def of_counts(cls, counts: Sequence[int] | NDArray[np.int32]) -> Units | None:
        """From how many units each record has; None where all have one."""
        number = np.asarray(counts, dtype=np.int64)
        if (number == 1).all():
            return None
        return cls(np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(number)]))

    @property
    def total(self) -> int:
        """Units of all records."""
        return int(self.starts[-1])

    def counts(self, rows: Ints) -> Ints:
        """How many units each of some records has."""
        found: Ints = self.starts[rows + 1] - self.starts[rows]
        return found

    def entries(self, rows: Ints) -> Ints:
        """The units of some records, one record after the other."""
        counts = self.counts(rows)
        before = np.cumsum(counts) - counts
        shifts = np.repeat(self.starts[rows] - before, counts)
        found: Ints = np.arange(len(shifts), dtype=np.int64) + shifts
        return found


def first_of(counts: Ints) -> Ints:
    """Where each record's units begin, one record after the other."""
    found: Ints = np.cumsum(counts, dtype=np.int64) - counts
    return found


def combined(values: Floats, counts: Ints, how: Combine) -> Floats:
    """A value a record from one a unit; null (NaN) where any of its units is.

    `counts` says how many units each record has, one or more.
    """
    if not len(counts):
        return np.empty(0)
    first = first_of(counts)
    if how == "mean":
        return np.asarray(np.add.reduceat(values, first) / counts, dtype=np.float64)
    reduce = np.minimum if how == "min" else np.maximum
    return np.asarray(reduce.reduceat(values, first), dtype=np.float64)


def pooled(column: LikelihoodColumn, counts: Ints) -> LikelihoodColumn:
    """One likelihood a record: log-likelihoods and tokens of its units added up.

    Undefined where any of them is; of several reasons it is the last of `Status`.
    """
    if not len(counts):
        return LikelihoodColumn.empty(0)
    first = first_of(counts)
    status = np.maximum.reduceat(column.status, first)
    return LikelihoodColumn(
        np.where(status == 0, np.add.reduceat(column.logprob, first), np.nan),
        np.where(status == 0, np.add.reduceat(column.tokens, first), 0).astype(np.int32),
        status,
    )
