"""A keep rule frozen on clean rows: others are placed into it and move nothing.

Bin edges, the sorted values of each bin and the cuts of rank, top, fraction and quota are taken of
the clean rows once. Whatever is placed afterwards is looked up in them, one row at a time as it
were: no row changes what becomes of another. A row that equals a clean one gets its rank and its
fate; a clean row gets its own back.

One that lies between two clean rows of its bin gets the rank between theirs, below all of them 0,
above all of them 1. Where it meets a rank bound it counts as the end record of its bin, so that
``rank: [0.0, 0.9]`` drops nothing at the low end. In a bin or group without clean rows it stands
alone, as it would in a run: rank 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qaqfilter import Bools, Floats, Ints
from qaqfilter.groups import Group
from qaqfilter.keep import Keep, decide
from qaqfilter.quotas import Quotas, count_of
from qaqfilter.ranking import bin_edges, bins_of

_BOUNDS = {
    "min": np.greater_equal,
    "above": np.greater,
    "max": np.less_equal,
    "below": np.less,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a keep rule looks at, a row each, in the order of the stream.

    `values` is the step's first column, `by` that of its strata, `codes` those of its group (of
    one list of words for all rows, clean or placed); None where the step has none. `order` is a
    row's place in the stream: of equal values at a cut those that come earlier stay.
    """

    values: Floats
    order: Ints
    by: Floats | None = None
    codes: Ints | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Whether each row is kept, and its rank: NaN for a null and for a row without a group.

    `inside` is the rank as rank bounds meet it, that of a clean record.
    """

    kept: Bools
    rank: Floats
    inside: Floats


@dataclass(frozen=True, slots=True)
class _Cut:
    """Of one group: the lowest key that stays, and up to which row that key does."""

    key: float
    last: float


class Ruler:
    """A keep rule over clean rows. `words` are those of the group, for its quota."""

    def __init__(
        self, keep: Keep, clean: Judged, *, bins: int = 1, words: list[str | None] | None = None
    ) -> None:
        self._keep = keep
        self._bins = bins
        self._edges = None if clean.by is None else bin_edges(clean.by, bins)
        self._grouped = clean.by is not None or clean.codes is not None
        groups = self._groups(clean)
        judged = ~np.isnan(clean.values) & (groups >= 0)
        passing = judged & self._within(clean.values)
        ranked = judged if keep.of == "input" else passing
        self._peers = {
            int(group): np.sort(clean.values[ranked & (groups == group)])
            for group in np.unique(groups[ranked])
        }
        self._cuts: dict[int, _Cut] = {}
        self._alone: list[_Cut] = []
        if keep.top is not None or keep.fraction is not None or keep.quota is not None:
            self._cut(clean, groups, words)

    def place(self, rows: Judged) -> Placed:
        """Where each row falls, whatever else is placed."""
        groups = self._groups(rows)
        judged = ~np.isnan(rows.values) & (groups >= 0)
        rank, size = self._ranks(rows.values, np.where(judged, groups, -1))
        inside = np.clip(rank, 0.5 / size, (2 * size - 1) / (2 * size))
        kept = judged & self._within(rows.values) & self._ranks_right(inside)
        if self._cuts or self._alone:
            kept &= self._above_cut(rows, rank)
        if self._keep.invert:
            kept = judged & ~kept
        return Placed(kept, rank, inside)

    # --- the parts of a rule ------------------------------------------------------------

    def _within(self, values: Floats) -> Bools:
        kept = np.ones(len(values), dtype=np.bool_)
        for rule, holds in _BOUNDS.items():
            bound = getattr(self._keep, rule)
            if bound is not None:
                kept &= holds(values, bound)
        return kept

    def _groups(self, rows: Judged) -> Ints:
        """Bins crossed with the group's codes; -1 where either is missing."""
        groups = np.zeros(len(rows.values), dtype=np.int64)
        if rows.by is not None and self._edges is not None:
            groups = bins_of(rows.by, self._edges)
        if rows.codes is not None:
            lost = (groups < 0) | (rows.codes < 0)
            groups = np.where(lost, -1, rows.codes * self._bins + groups)
        return groups

    def _ranks(self, values: Floats, groups: Ints) -> tuple[Floats, Ints]:
        """The rank among the clean peers, and how many these are."""
        rank = np.full(len(values), np.nan)
        size = np.ones(len(values), dtype=np.int64)
        for group in np.unique(groups[groups >= 0]).tolist():
            here = groups == group
            peers = self._peers.get(group)
            if peers is None:
                rank[here] = 0.5
                continue
            low = np.searchsorted(peers, values[here], side="left")
            high = np.searchsorted(peers, values[here], side="right")
            rank[here] = (low + high) / (2 * len(peers))
            size[here] = len(peers)
        return rank, size

    def _ranks_right(self, inside: Floats) -> Bools:
        if self._keep.rank is None:
            return np.ones(len(inside), dtype=np.bool_)
        low, high = self._keep.rank
        return (inside >= low) & (inside < high)

    def _cut(self, clean: Judged, groups: Ints, words: list[str | None] | None) -> None:
        """Find out where top, fraction or quota cut the clean rows, in each group of a quota."""
        plain = self._keep.model_copy(update={"invert": False})
        uncut = plain.model_copy(update={"top": None, "fraction": None, "quota": None})
        codes = np.zeros(len(clean.values), dtype=np.int64)
        quotas = None
        if self._keep.quota is not None and clean.codes is not None:
            codes = clean.codes
            quotas = Quotas.of(self._keep.quota, Group(clean.codes, list(words or [])))
        kept = self._decided(plain, clean, groups, quotas)
        left = self._decided(uncut, clean, groups, None)
        key = self._key(clean.values, self._ranks(clean.values, groups)[0])
        limits = [self._keep.count(1)] if quotas is None else quotas.limits
        self._alone = [_NOTHING if count_of(limit, 1) == 0 else _ALL for limit in limits]
        for code in np.unique(codes[left]).tolist():
            self._cuts[code] = _cut_between(
                key, clean.order, left & kept & (codes == code), left & ~kept & (codes == code)
            )

    def _decided(self, keep: Keep, clean: Judged, groups: Ints, quotas: Quotas | None) -> Bools:
        nothing = np.zeros(len(groups), dtype=np.int64)
        within = groups if self._grouped else None
        return decide(keep, clean.values, ("undefined",), nothing, within, quotas=quotas).kept

    def _above_cut(self, rows: Judged, rank: Floats) -> Bools:
        key = self._key(rows.values, rank)
        codes = np.zeros(len(key), dtype=np.int64)
        if self._keep.quota is not None and rows.codes is not None:
            codes = rows.codes
        kept = np.zeros(len(key), dtype=np.bool_)
        for code in np.unique(codes[codes >= 0]).tolist():
            cut = self._cuts.get(code) or self._alone[code]
            here = codes == code
            at_cut = (key[here] == cut.key) & (rows.order[here] <= cut.last)
            kept[here] = (key[here] > cut.key) | at_cut
        return kept

    def _key(self, values: Floats, rank: Floats) -> Floats:
        """What top, fraction and quota order by."""
        return rank if self._grouped else values


_ALL, _NOTHING = _Cut(-np.inf, np.inf), _Cut(np.inf, -np.inf)


def _cut_between(key: Floats, order: Ints, stays: Bools, goes: Bools) -> _Cut:
    if not goes.any():
        return _ALL
    if not stays.any():
        return _NOTHING
    lowest = float(key[stays].min())
    tied = goes & (key == lowest)
    # Where the cut runs through equal values, the place in the stream decides.
    last = float(order[stays & (key == lowest)].max()) if tied.any() else np.inf
    return _Cut(lowest, last)
