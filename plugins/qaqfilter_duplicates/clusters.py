"""Which of many signatures are near one another, without comparing all with all.

Signatures are cut into bands; only those that agree in a whole band are compared (locality
sensitive hashing). Rows are taken in their order, and each is compared with those that stay, so
that what is dropped is near to something that stays, and not only to something that is dropped too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qaqfilter import Floats, Ints
from qaqfilter_duplicates.minhash import similarity

FOUND = 0.99
"""How surely a pair that is exactly as similar as the threshold agrees in some band."""


class Found(NamedTuple):
    """Of each row: the row that stays in its place (itself: -1), and how similar that one is.

    The similarity of a row that stays is that to the nearest it was compared with, NaN for none.
    """

    near: Ints
    similarity: Floats


def rows_of_band(size: int, threshold: float) -> int:
    """The largest bands by which pairs at the threshold are still found: fewest comparisons."""
    for rows in range(16, 2, -1):
        if 1 - (1 - threshold**rows) ** (size // rows) >= FOUND:
            return rows
    return 2


def near_ones(signatures: NDArray[np.uint8], threshold: float) -> Found:
    """`signatures` are ``[rows, size]``, in the order in which they shall stay."""
    count = len(signatures)
    found = Found(np.full(count, -1), np.full(count, np.nan))
    buckets = _buckets(signatures, rows_of_band(signatures.shape[1], threshold))
    shared = np.flatnonzero((buckets >= 0).any(axis=1))
    staying: dict[int, list[int]] = {}
    for row in shared.tolist():
        mine = [bucket for bucket in buckets[row].tolist() if bucket >= 0]
        others = sorted({other for bucket in mine for other in staying.get(bucket, ())})
        if others:
            alike = similarity(signatures[others], signatures[row])
            best = int(alike.argmax())  # of equal ones the earliest
            found.similarity[row] = alike[best]
            if alike[best] >= threshold:
                found.near[row] = others[best]
                continue
        for bucket in mine:
            staying.setdefault(bucket, []).append(row)
    return found


def _buckets(signatures: NDArray[np.uint8], rows: int) -> NDArray[np.int64]:
    """``[rows, bands]``: equal numbers where two agree in a band; -1 where nobody else does."""
    count, size = signatures.shape
    bands = size // rows
    buckets = np.full((count, bands), -1, dtype=np.int64)
    for band in range(bands):
        cut = np.ascontiguousarray(signatures[:, band * rows : (band + 1) * rows])
        _, which, counts = np.unique(cut.view(f"V{rows}"), return_inverse=True, return_counts=True)
        which = which.reshape(-1)
        buckets[:, band] = np.where(counts[which] > 1, which + band * count, -1)
    return buckets
