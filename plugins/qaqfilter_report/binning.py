"""Counts in bins of equal width, of as many records as there are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
BINS = 40
_TAIL = 0.5
"""Percent at either end that may lie outside the bins' range, and is counted in the last bin."""


class Bins(NamedTuple):
    """`edges` has one more than the counts; `beyond` says how many lie outside of them."""

    edges: Floats
    beyond: int

    def counts(self, values: Floats) -> list[int]:
        """How many values are in each bin; those outside the edges are in the outermost."""
        found = values[~np.isnan(values)]
        places = np.searchsorted(self.edges, found, side="right") - 1
        last = len(self.edges) - 2
        counts = np.bincount(np.clip(places, 0, last), minlength=last + 1)
        return [int(count) for count in counts]


def bins_for(values: Floats, bins: int = BINS) -> Bins | None:
    """Bins that show a column well: of its middle 99 %, so that one outlier does not hide the
    rest; None where it has no finite number.
    """
    found = values[np.isfinite(values)]
    if not len(found):
        return None
    low, high = np.percentile(found, (_TAIL, 100 - _TAIL)).tolist()
    least, most = float(found.min()), float(found.max())
    # A tail that is no longer than the rest need not be folded.
    low = least if low - least <= (high - low) / 4 else low
    high = most if most - high <= (high - low) / 4 else high
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):  # one value
        width = max(abs(low), 1.0) / 10
        low, high, bins = low - width, high + width, 5
    edges = np.linspace(low, high, bins + 1)
    defined = values[~np.isnan(values)]
    return Bins(edges, int(((defined < low) | (defined > high)).sum()))
