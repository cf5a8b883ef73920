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

from qaqfilter import ModelName, Need, Options, Paper, Table
from qaqfilter_s_ifd.deltas import Deltas
from qaqfilter_s_ifd.order import nth_smallest


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
        deltas = Deltas(table, self.model)
        above = self.threshold(deltas)
        found = {name: np.full(len(table), np.nan) for name in self.columns}
        for rows, values, lengths in deltas:
            counts = np.abs(values) > above
            firsts = np.cumsum(lengths) - lengths
            kept = np.add.reduceat(counts, firsts, dtype=np.int64)
            sums = np.add.reduceat(np.where(counts, values, 0), firsts, dtype=np.float64)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                found["s_ifd"][rows] = np.exp(sums / kept)
            found["kept_share"][rows] = kept / lengths
        return found

    def threshold(self, deltas: Deltas) -> float:
        """θ: that of the n values at which (n - 1)(1 - keep_ratio) lie below, rounded down."""
        total = deltas.total
        if self.keep_ratio == 1 or not total:
            return -1.0
        # The decimal number that was written, not the double that is nearest to it.
        below = (total - 1) * (1 - Fraction(str(self.keep_ratio)))

        def sizes() -> Iterator[NDArray[np.float32]]:
            return (np.abs(values) for _, values, _ in deltas)

        return nth_smallest(sizes, int(below))
