"""Ranks and equal-count bins of columns with nulls.

All of it is order-free (a permutation of the rows permutes the answer and changes no number),
treats equal values alike, and costs one sort. NaN is null; infinities are ordinary values.
"""

from __future__ import annotations

import numpy as np

from qaqfilter.types import Bools, Floats, Ints


def equal_count_bins(values: Floats, bins: int) -> Ints:
    """The bin, 0 to ``bins - 1``, of each value, bins holding equal counts as far as ties allow.

    With n values that are not null, sorted as s[0] to s[n-1], edge k (1 to ``bins - 1``) is
    ``s[ceil(k * n / bins)]``, computed in integers. A value equal to an edge belongs to the
    upper bin, so equal values always share one. Edges past the last value do not exist; fewer
    values than bins leave some bins empty, and values that are all equal share one bin.
    NaN gets -1. Raises ValueError for less than one bin.
    """
    values = np.asarray(values, dtype=np.float64)
    return bins_of(values, bin_edges(values, bins))


def bin_edges(values: Floats, bins: int) -> Floats:
    """The edges of `equal_count_bins`, ascending: ``bins - 1`` of them, or fewer."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    ordered = np.sort(values[~np.isnan(values)])
    positions = -(-np.arange(1, bins, dtype=np.int64) * len(ordered) // bins)
    edges: Floats = ordered[positions[positions < len(ordered)]]
    return edges


def bins_of(values: Floats, edges: Floats) -> Ints:
    """The bin of each value between edges that may be those of other values; -1 for NaN."""
    found = np.searchsorted(edges, values, side="right").astype(np.int64)
    return np.where(np.isnan(values), -1, found)


def fractional_ranks(values: Floats, groups: Ints | None = None) -> Floats:
    """(rank - 0.5) / n inside each group, between 0 and 1, exclusive; higher value, higher rank.

    Ranks count from 1; equal values share the mean of their ranks; n is the number of values in
    the group that are not null. NaN where the value is null or the group is negative.
    """
    values = np.asarray(values, dtype=np.float64)
    answer = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    if groups is not None:
        known &= groups >= 0
    at = np.flatnonzero(known)
    if not len(at):
        return answer
    if groups is None:
        order = at[np.argsort(values[at], kind="stable")]
        starts_group = np.zeros(len(order), dtype=np.bool_)
    else:
        order = at[np.lexsort((values[at], groups[at]))]
        starts_group = _differs_from_previous(groups[order])
    starts_group[0] = True
    starts_tie = starts_group | _differs_from_previous(values[order])

    group_of, group_start, group_size = _runs(starts_group)
    tie_of, tie_start, tie_size = _runs(starts_tie)
    # The ranks of a tie are before + 1 to before + size. Their mean less a half is
    # before + size / 2; one division of integers keeps the answer exact to the last bit.
    before = tie_start[tie_of] - group_start[group_of]
    answer[order] = (2 * before + tie_size[tie_of]) / (2 * group_size[group_of])
    return answer


def _differs_from_previous(column: Floats | Ints) -> Bools:
    """Whether each entry differs from the one before it; the first does not."""
    differs = np.zeros(len(column), dtype=np.bool_)
    differs[1:] = column[1:] != column[:-1]
    return differs


def _runs(starts: Bools) -> tuple[Ints, Ints, Ints]:
    """Run number of each entry, and where each run starts and how long it is."""
    start = np.flatnonzero(starts).astype(np.int64)
    size = np.diff(start, append=len(starts)).astype(np.int64)
    return np.cumsum(starts, dtype=np.int64) - 1, start, size
