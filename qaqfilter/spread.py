"""How the numbers of a column are spread: quantiles, and a small histogram of characters."""

from __future__ import annotations

import numpy as np

from qaqfilter.types import Floats

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
"""Percent."""
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24
"""Bins of a histogram, and its characters."""


def quantiles(values: Floats) -> tuple[float, ...]:
    """The column's values at `QUANTILES`, NaN left out; nothing for a column without a number."""
    found = values[~np.isnan(values)]
    if not len(found):
        return ()
    return tuple(np.percentile(found, QUANTILES).tolist())


def histogram(values: Floats, low: float, high: float) -> str:
    """Counts in `WIDTH` bins of equal width from `low` to `high`, NaN left out.

    A blank is an empty bin; the fullest bin has the highest bar.
    """
    found = values[~np.isnan(values)]
    # Computed here and not by numpy.histogram: that one fails where the bins are narrower than
    # the distance of two floats.
    width = (high - low) / WIDTH
    places = (found - low) / width if width > 0 else np.zeros(len(found))
    bins = np.clip(places.astype(np.int64), 0, WIDTH - 1)
    counts = np.bincount(bins, minlength=WIDTH)
    most = max(1, int(counts.max()))
    heights = np.ceil(counts * len(BARS) / most).astype(int)
    return "".join(BARS[height - 1] if height else " " for height in heights.tolist())
