"""Log-probabilities token by token, for many rows: flat numbers, and where each row's begin.

They are float32: half the room, and each is off by 6e-8 of itself at most. A sum of likelihoods is
made of the numbers before they are rounded, so no score changes when tokens are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qaqfilter.types import Bools, Ints

TokenValues = NDArray[np.float32]

AT_ONCE = 1 << 20
"""Tokens that are looked at together, 4 MiB."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Row r has the numbers ``values[starts[r] : starts[r] + lengths[r]]`` (nats, at most 0).

    `values` may be those of a file, with other rows' numbers in between. `lengths` is 0 where the
    likelihood is undefined, else its count of tokens.
    """

    values: TokenValues
    starts: Ints
    lengths: Ints

    @classmethod
    def of(cls, arrays: Sequence[TokenValues]) -> TokenLogprobs:
        """From an array for each row."""
        lengths = np.array([len(array) for array in arrays], dtype=np.int64)
        values = np.concatenate([np.empty(0, dtype=np.float32), *arrays])
        return cls(values, np.cumsum(lengths) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> TokenValues:
        """The numbers of one row."""
        return self.values[self.starts[row] : self.starts[row] + self.lengths[row]]

    def __iter__(self) -> Iterator[TokenValues]:
        return (self[row] for row in range(len(self)))

    def take(self, rows: Ints | Bools | slice) -> TokenLogprobs:
        """Some rows; the numbers themselves are not touched."""
        return TokenLogprobs(self.values, self.starts[rows], self.lengths[rows])

    def joined(self) -> TokenValues:
        """The numbers of all rows, one row after the other."""
        if not len(self):
            return np.empty(0, dtype=np.float32)
        ends = self.starts + self.lengths
        if (self.starts[1:] == ends[:-1]).all():
            return self.values[self.starts[0] : ends[-1]]
        before = np.cumsum(self.lengths) - self.lengths
        shifts = np.repeat(self.starts - before, self.lengths)
        found: TokenValues = self.values[np.arange(len(shifts)) + shifts]
        return found

    def stretches(self, most: int = AT_ONCE) -> Iterator[slice]:
        """Slices of the rows with at most so many tokens each, or one row that has more."""
        ends = np.cumsum(self.lengths)
        first = 0
        while first < len(self):
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + most, side="right")))
            yield slice(first, last)
            first = last
