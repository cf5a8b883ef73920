"""A run that has decided, as whoever shows it sees it: every number of every record, no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qaqfilter.columns import Columns
from qaqfilter.fates import Fates
from qaqfilter.groups import Group
from qaqfilter.keep import Keep, Strata, stratum_groups
from qaqfilter.ranking import equal_count_bins, fractional_ranks
from qaqfilter.reports import ModelReport, RunReport
from qaqfilter.types import Bools, Floats, Ints, Rejection


class Part(NamedTuple):
    """A part of the input: a file, a module; its records stand one after the other."""

    name: str
    records: int
    bad: int


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step of the run, and by what it judged.

    Attributes
    ----------
    columns: what it computed, as ``<step>.<column>``; `keep` judges the first.
    keep: None for a step that only scores, or that decides by a rule of its own (`own_rule`).
    strata_by: the whole name of the column whose bins its ranks are taken in.
    group: the field, or column, among whose equals it ranks.
    likelihoods: what it asked of models, as ``<view>.<likelihood>``.
    """

    id: str
    use: str
    summary: str
    columns: tuple[str, ...]
    keep: Keep | None
    own_rule: bool
    strata: Strata | None
    strata_by: str | None
    group: str | None
    group_column: str | None
    likelihoods: tuple[str, ...]

    @property
    def column(self) -> str:
        """The column that is judged."""
        return self.columns[0]


class Standing(NamedTuple):
    """Where the records that reached a step stand in it; arrays of their length.

    `values` are what is judged (NaN: undefined), `stratum` the bin (-1: none), `group` the code of
    the group (-1: none), `rank` the fractional rank inside both (NaN: none).
    """

    rows: Ints
    values: Floats
    stratum: Ints
    group: Ints
    rank: Floats


@dataclass(frozen=True, slots=True)
class Finished:
    """A run, in memory or read back from its folder.

    Attributes
    ----------
    command: the verb that made it; a run of `score` decides too, but writes no records.
    recipe: the resolved one, as plain data.
    models: those behind its numbers, whenever they were asked.
    """

    command: str
    recipe: Mapping[str, Any]
    report: RunReport
    models: tuple[ModelReport, ...]
    steps: tuple[FinishedStep, ...]
    parts: tuple[Part, ...]
    columns: Columns
    fates: Fates

    @property
    def records(self) -> int:
        """Good records of the input: the rows of every column."""
        return self.columns.size

    @property
    def kept(self) -> Bools:
        """Which records every step let through."""
        found: Bools = self.fates.step < 0
        return found

    def reached(self, index: int) -> Bools:
        """Which records came to the step of this index."""
        found: Bools = (self.fates.step < 0) | (self.fates.step >= index)
        return found

    def passed(self, index: int) -> Bools:
        """Which records the step of this index let through."""
        found: Bools = (self.fates.step < 0) | (self.fates.step > index)
        return found

    def numbers(self, name: str) -> Floats:
        """A column by its name, ``<step>.<column>``; NaN everywhere if nobody computed it."""
        found = self.columns.numbers.get(name)
        return np.full(self.records, np.nan) if found is None else found

    def nll(self, likelihood: str) -> Floats:
        """Mean negative log-likelihood of ``<view>.<likelihood>``, nats a token, NaN for null."""
        return self.columns.pooled(likelihood).nll

    def part_of(self) -> NDArray[np.int32]:
        """The index into `parts` of every record."""
        sizes = [part.records for part in self.parts]
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    def grouping(self, step: FinishedStep) -> Group | None:
        """Among whose equals a step ranks; None where among all."""
        if step.group is None:
            return None
        name = step.group_column or f"{step.id}.group"
        if name in self.columns.numbers:
            return Group.of_numbers(self.columns.numbers[name])
        return self.columns.groups.get(name, Group.empty(self.records))

    def standing(self, index: int) -> Standing:
        """Values, bins and ranks of a step, as its keep rule found them."""
        step = self.steps[index]
        rows = np.flatnonzero(self.reached(index)).astype(np.int64)
        values = self.numbers(step.column)[rows]
        nobody = np.full(len(rows), -1, dtype=np.int64)
        stratum, by, bins = nobody, None, 1
        if step.strata is not None and step.strata_by is not None:
            by, bins = self.numbers(step.strata_by)[rows], step.strata.bins
            stratum = equal_count_bins(by, bins)
        grouping = self.grouping(step)
        codes = None if grouping is None else grouping.codes[rows]
        peers = stratum_groups(by, bins, codes)
        ranked = values
        if step.keep is not None and step.keep.of == "survivors":
            ranked = np.where(within_bounds(step.keep, values), values, np.nan)
        rank = fractional_ranks(ranked, peers)
        return Standing(rows, values, stratum, nobody if codes is None else codes, rank)

    def rejection(self, row: int) -> Rejection | None:
        """Why one record was thrown out; None for a kept one."""
        return next(self.fates.some(slice(row, row + 1)))


def within_bounds(keep: Keep, values: Floats) -> Bools:
    """Which values a rule's bounds let through, whatever the rest of it says."""
    inside = ~np.isnan(values)
    for bound, holds in (
        (keep.min, np.greater_equal),
        (keep.above, np.greater),
        (keep.max, np.less_equal),
        (keep.below, np.less),
    ):
        if bound is not None:
            inside &= holds(values, bound)
    return inside
