"""s_ifd = exp(mean of d(t) over tokens t of A with |d(t)| > θ); d(t) = loss(t | Q) - loss(t).

Selective instruction-following difficulty (T-SHIRT, arXiv 2506.01317), a pure number. The threshold
θ is a percentile of |d| over all answer tokens of the records that reach the step, so that the
share `keep_ratio` of them is above it. Below 1 the query helps with those tokens, above it hinders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import Ints, ModelName, Need, Options, Paper, QaqfilterError, Table, nth_smallest

Piece = tuple[Ints, NDArray[np.float32], Ints]
"""Rows of the table, d of all their tokens one after the other, and how many each row has."""


class SIfdOptions(Options):
    """Options of `s_ifd`."""

    model: ModelName
    keep_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The share of all answer tokens that count: those that the query moves most. "
        "1: all of them, which is `ifd`.",
    )


class SIfd:
    """Columns: s_ifd, and kept_share, the share of the record's own tokens that count (0 to 1)."""

    columns = ("s_ifd", "kept_share")
    papers = (Paper("T-SHIRT", "https://arxiv.org/abs/2506.01317"),)

    def __init__(self, config: SIfdOptions) -> None:
        self.model = config.model
        self.keep_ratio = config.keep_ratio
        self.needs = (Need(self.model, "answer"), Need(self.model, "answer_given_query"))
        self.token_needs = self.needs

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where either likelihood is; `s_ifd` also where none of the tokens counts."""
        threshold = self._threshold(table)
        found = {name: np.full(len(table), np.nan) for name in self.columns}
        for rows, deltas, lengths in self._pieces(table):
            counts = np.abs(deltas) > threshold
            firsts = np.cumsum(lengths) - lengths
            kept = np.add.reduceat(counts, firsts, dtype=np.int64)
            sums = np.add.reduceat(np.where(counts, deltas, 0), firsts, dtype=np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                found["s_ifd"][rows] = np.exp(sums / kept)
            found["kept_share"][rows] = kept / lengths
        return found

    def _threshold(self, table: Table) -> float:
        """Of n values in order that at place (n - 1)(1 - keep_ratio), from 0, rounded down."""
        total = sum(len(deltas) for _, deltas, _ in self._pieces(table))
        if self.keep_ratio == 1 or not total:
            return -1.0
        # The decimal number that was written, not the double that is nearest to it.
        place = (total - 1) * (1 - Fraction(str(self.keep_ratio)))
        return nth_smallest(lambda: (np.abs(d) for _, d, _ in self._pieces(table)), int(place))

    def _pieces(self, table: Table) -> Iterator[Piece]:
        """The rows where both likelihoods are defined, some million tokens at a time."""
        status = [table.likelihood(*need).status for need in self.needs]
        rows = np.flatnonzero((status[0] == 0) & (status[1] == 0))
        alone, given = (table.token_logprobs(*need).take(rows) for need in self.needs)
        if len(other := np.flatnonzero(alone.lengths != given.lengths)):
            first = other[0]
            raise QaqfilterError(
                f"s_ifd compares an answer's tokens one by one, and in {len(other)} records they "
                f"are not the same with the query and without ({given.lengths[first]} and "
                f"{alone.lengths[first]} in the first, row {table.rows[rows[first]]} of the input):"
                " take a prompt that tokenises query and answer apart, as `plain` does"
            )
        for here in alone.stretches():
            deltas = alone.take(here).joined() - given.take(here).joined()
            yield rows[here], deltas, alone.lengths[here]
