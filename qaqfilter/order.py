"""The n-th smallest of more numbers than memory holds, exactly, in two passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

HALF = 1 << 16


def nth_smallest(pieces: Callable[[], Iterable[NDArray[np.float32]]], n: int) -> float:
    """The number at place `n`, from 0, of all in `pieces` sorted; none is NaN or below 0.

    `pieces` is called twice and gives the same numbers each time. The bits of a float32 that is
    not negative, read as an integer, are in the order of the numbers: so the first pass counts
    them by the upper 16 bits, the second, within the count that `n` falls into, by the lower.
    """
    upper = np.zeros(HALF, dtype=np.int64)
    for bits in map(_bits, pieces()):
        upper += np.bincount(bits >> 16, minlength=HALF)
    high, rest = _fall_into(upper, n)
    lower = np.zeros(HALF, dtype=np.int64)
    for bits in map(_bits, pieces()):
        lower += np.bincount(bits[bits >> 16 == high] & (HALF - 1), minlength=HALF)
    low, _ = _fall_into(lower, rest)
    return float(np.array([high * HALF + low], dtype=np.uint32).view(np.float32)[0])


def _bits(piece: NDArray[np.float32]) -> NDArray[np.uint32]:
    # No -0.0, whose bits are those of a very large number.
    return np.ascontiguousarray(piece + np.float32(0)).view(np.uint32)


def _fall_into(counts: NDArray[np.int64], n: int) -> tuple[int, int]:
    """Which count the place `n` falls into, and its place there."""
    ends = np.cumsum(counts)
    index = int(np.searchsorted(ends, n, side="right"))
    return index, n - int(ends[index] - counts[index])
