"""Greedy picks among points, best first; of equal ones the earlier.

Similarity is the cosine. Beside the points, memory is a few numbers a point: similarities are made
in blocks and not kept.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qaqfilter import Floats

BLOCK = 256
"""Points that are compared with all others at a time."""

Points = NDArray[np.float32]


class Picked(NamedTuple):
    """`order` are rows as they were picked; `gain` is what each row gave, or would still give."""

    order: list[int]
    gain: Floats


def unit_points(packed: NDArray[np.uint8]) -> Points:
    """Embeddings of a byte a number as points of length 1."""
    points = packed.view(np.int8).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def k_center(points: Points, count: int, seed: int) -> Picked:
    """Each time the point farthest from those picked (Gonzalez, 1985): gain is 1 - cosine.

    The first is drawn by the seed. No choice of as many points leaves any other less than half as
    far away.
    """
    near = np.full(len(points), -np.inf)
    gain = np.full(len(points), np.nan)
    order: list[int] = []
    row = int(np.random.default_rng(seed).integers(len(points)))
    for _ in range(count):
        gain[row] = 2.0 if not order else 1 - near[row]
        order.append(row)
        np.maximum(near, points @ points[row], out=near)
        near[row] = np.inf
        row = int(near.argmin())
    left = np.isnan(gain)
    gain[left] = 1 - near[left]
    return Picked(order, gain)


def facility_location(points: Points, count: int) -> Picked:
    """Each time the point that adds most to the sum over all of max cosine to a picked one, or 0.

    Lazy greedy (Minoux, 1978): a gain only ever shrinks, so the best old one is looked at again
    first. It comes to at least 1 - 1/e of what the best choice would.
    """
    covered = np.zeros(len(points), dtype=np.float32)
    gain = _gains(points, np.arange(len(points)), covered)
    heap = [(-float(value), row, 0) for row, value in enumerate(gain.tolist())]
    heapify(heap)
    order: list[int] = []
    while len(order) < count:
        _, row, seen = heappop(heap)
        if seen < len(order):
            (fresh,) = _gains(points, np.array([row]), covered).tolist()
            heappush(heap, (-fresh, row, len(order)))
            gain[row] = fresh
            continue
        order.append(row)
        np.maximum(covered, points @ points[row], out=covered)
    left = np.setdiff1d(np.arange(len(points)), order)
    gain[left] = _gains(points, left, covered)
    return Picked(order, gain)


def _gains(points: Points, rows: NDArray[np.int64], covered: NDArray[np.float32]) -> Floats:
    """What each of `rows` would add to the sum."""
    found = np.empty(len(rows))
    for first in range(0, len(rows), BLOCK):
        here = rows[first : first + BLOCK]
        more = points @ points[here].T - covered[:, None]
        found[first : first + BLOCK] = np.maximum(more, 0, out=more).sum(axis=0, dtype=np.float64)
    return found
