"""Greedy picks among points, best first; of equal ones the earlier.

Similarity is the cosine. Beside the points, memory is a few numbers a point: similarities are made
in blocks and not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
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

    It comes to at least 1 - 1/e of what the best choice would (Nemhauser and others, 1978). A pick
    changes gains only through the points that it is nearer to than any pick before it. Those get
    few soon, so all picks together cost a few times what the first gains do.
    """
    covered = np.zeros(len(points), dtype=np.float32)
    everybody = np.arange(len(points))
    left = np.zeros(len(points))
    for _, likeness in _likeness(points, everybody):
        left += np.maximum(likeness, 0).sum(axis=1, dtype=np.float64)
    gain = left.copy()
    order: list[int] = []
    for _ in range(count):
        row = int(left.argmax())
        order.append(row)
        gain[row] = left[row]
        near = points @ points[row]
        for block, likeness in _likeness(points, np.flatnonzero(near > covered)):
            # How much of a likeness is above what was covered, and not yet covered now.
            lost = np.clip(likeness, covered[block], near[block]) - covered[block]
            left -= lost.sum(axis=1, dtype=np.float64)
        np.maximum(covered, near, out=covered)
        left[row] = -np.inf
    rest = np.isfinite(left)
    gain[rest] = np.maximum(left[rest], 0)  # rounding may have gone a hair below
    return Picked(order, gain)


def _likeness(
    points: Points, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The cosines of all points with some of `rows` at a time: ``[points, rows]``."""
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        yield block, points @ points[block].T
