"""Rank correlation, AUC, and how sure the latter is. Nulls are left out pairwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qaqfilter import fractional_ranks

Column = NDArray[np.float64]

DRAWS = 1000
"""Resamples of a bootstrap."""


def spearman(one: Column, other: Column) -> float:
    """Pearson's correlation of the ranks, ties sharing a mean rank; NaN if a column is constant."""
    known = ~(np.isnan(one) | np.isnan(other))
    ranks = [fractional_ranks(column[known]) for column in (one, other)]
    left, right = (r - r.mean() for r in ranks)
    scale = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / scale if scale else float("nan")


def auc(bad: Column, good: Column) -> float:
    """The share of (bad, good) pairs in which the bad one is higher; equal ones count half."""
    bad, good = bad[~np.isnan(bad)], good[~np.isnan(good)]
    return float(_wins(bad, good).mean()) if len(bad) and len(good) else float("nan")


def interval(bad: Column, good: Column) -> tuple[float, float]:
    """The middle 95 % of the AUC over resamples of both sides; the same draws every time."""
    bad, good = bad[~np.isnan(bad)], good[~np.isnan(good)]
    if not (len(bad) and len(good)):
        return float("nan"), float("nan")
    wins, draw = _wins(bad, good), np.random.default_rng(0)
    found = [
        wins[np.ix_(_again(draw, len(bad)), _again(draw, len(good)))].mean() for _ in range(DRAWS)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _wins(bad: Column, good: Column) -> Column:
    return np.asarray(np.sign(bad[:, None] - good[None, :]) / 2 + 0.5, dtype=np.float64)


def _again(draw: np.random.Generator, size: int) -> NDArray[np.int64]:
    return draw.integers(0, size, size)
