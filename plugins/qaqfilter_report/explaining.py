"""Why records stand where they do: for each step the numbers behind what it decided.

    explained(run, rows) -> {row: (StepAccount, ...)}

Whole columns are looked at once a step, however many rows are asked for; a record costs nothing
but its own account.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qaqfilter import Bools, Floats, Ints, LikelihoodColumn, Rejection, Status
from qaqfilter.finished import Finished, FinishedStep, Standing
from qaqfilter.groups import shown
from qaqfilter.keep import BOUNDS, COUNTS, Keep
from qaqfilter.packing import is_packed
from qaqfilter.units import pooled

NEIGHBOURS = 2
"""How many are named on either side."""

_HOLDS = {
    "min": np.greater_equal,
    "above": np.greater,
    "max": np.less_equal,
    "below": np.less,
}


@dataclass(frozen=True, slots=True)
class Sum:
    """A likelihood: the sum over its tokens (nats) and their count, or why there is none."""

    logprob: float | None
    tokens: int
    missing: str | None

    @property
    def nll(self) -> float | None:
        """Nats a token."""
        return None if self.logprob is None else -self.logprob / self.tokens


@dataclass(frozen=True, slots=True)
class LikelihoodAccount:
    """A likelihood behind a score, ``<view>.<likelihood>``.

    `whole` is that of the record; `exchanges` has one for each exchange of a conversation that is
    scored for itself, oldest first, and is empty where there is but one.
    """

    name: str
    whole: Sum
    exchanges: tuple[Sum, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the value stands among its peers: those of its stratum and group that are ranked.

    ``rank = (below + equal / 2) / of``; `equal` counts the record itself.
    """

    rank: float
    below: int
    equal: int
    of: int


@dataclass(frozen=True, slots=True)
class StratumAccount:
    """The bin of the record, counted from 0, and the lowest and highest value of `by` in it."""

    by: str
    value: float | None
    index: int | None
    bins: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class GroupAccount:
    """The record's group: the value of the field `by`, None where nobody looked."""

    by: str
    word: str | None


@dataclass(frozen=True, slots=True)
class Test:
    """One rule of `keep` as it met the record: `number` against `bound`.

    `rule` is a name of the keep vocabulary, or ``rank_from`` (inclusive) and ``rank_to``
    (exclusive). Of ``top``, ``fraction`` and ``quota`` the bound is the lowest number inside.
    `holds` is None where an earlier rule had decided.
    """

    __test__ = False  # no test of pytest's

    rule: str
    on: str
    number: float | None
    bound: float | None
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A record next to this one in the score, among its peers, and what became of it."""

    row: int
    value: float
    passed: bool
    rejection: Rejection | None


@dataclass(frozen=True, slots=True)
class StepAccount:
    """A step and one record.

    Attributes
    ----------
    reached: whether the record came to the step; if not, there is nothing else.
    passed: whether the step let it through.
    column, value: what is judged, ``<step>.<column>``; None where undefined.
    others: every other number of the step, by its whole name.
    words: what the step took from the text as words, by whole name.
    keep: the rule as written; None for a step that only scores, or that decides by itself
        (`own_rule`).
    tests: the rules one by one, in the order in which they are tried; `invert` turns them round.
    rejection: what the step gave as its reason, if it threw the record out.
    below, above: the nearest first.
    """

    id: str
    use: str
    summary: str
    reached: bool
    passed: bool = False
    column: str = ""
    value: float | None = None
    others: Mapping[str, float | None] | None = None
    words: Mapping[str, str] | None = None
    likelihoods: tuple[LikelihoodAccount, ...] = ()
    stratum: StratumAccount | None = None
    group: GroupAccount | None = None
    place: Place | None = None
    keep: Mapping[str, Any] | None = None
    own_rule: bool = False
    tests: tuple[Test, ...] = ()
    rejection: Rejection | None = None
    below: tuple[Neighbour, ...] = ()
    above: tuple[Neighbour, ...] = ()


def explained(run: Finished, rows: Iterable[int]) -> dict[int, tuple[StepAccount, ...]]:
    """For each of `rows` an account of every step of the run. Raises IndexError for no row."""
    wanted = sorted({int(row) for row in rows})
    if wanted and not 0 <= wanted[0] <= wanted[-1] < run.records:
        raise IndexError(f"rows are 0 to {run.records - 1}, not {wanted[0]} to {wanted[-1]}")
    found: dict[int, list[StepAccount]] = {row: [] for row in wanted}
    for index in range(len(run.steps)) if wanted else ():
        for row, account in _step(run, index, wanted):
            found[row].append(account)
    return {row: tuple(accounts) for row, accounts in found.items()}


def _step(run: Finished, index: int, wanted: Sequence[int]) -> Iterator[tuple[int, StepAccount]]:
    step = run.steps[index]
    last = run.fates.step
    here = [row for row in wanted if last[row] < 0 or last[row] >= index]
    for row in wanted:
        if row not in here:
            yield row, StepAccount(step.id, step.use, step.summary, reached=False)
    if not here:
        return
    standing = run.standing(index)
    # Positions among those that reached the step, which are ascending.
    at = np.searchsorted(standing.rows, np.array(here, dtype=np.int64)).tolist()
    passed = run.passed(index)[standing.rows]
    peers = _Peers.of(step, standing, at)
    rules = _Rules(run, step, standing, passed, peers.codes)
    bins = _Bins(run, step, standing)
    words = run.grouping(step)
    own = f"{step.id}."
    cut = {f"{name.rpartition('.')[0]}.cut" for name in step.likelihoods}
    numbers = [
        name
        for name in run.columns.numbers
        if (name.startswith(own) and not is_packed(name)) or name in cut
    ]
    labels = [n for n in run.columns.groups if n.startswith(own) and n != f"{own}group"]
    keep = None if step.keep is None else step.keep.model_dump(mode="json", exclude_defaults=True)
    for row, place in zip(here, at, strict=True):
        group = None
        if step.group is not None and words is not None:
            code = int(standing.group[place])
            group = GroupAccount(step.group, shown(words.words[code]) if code >= 0 else None)
        below, above = peers.beside(place)
        yield (
            row,
            StepAccount(
                step.id,
                step.use,
                step.summary,
                reached=True,
                passed=bool(passed[place]),
                column=step.column,
                value=_or_none(standing.values[place]),
                others={
                    name: _or_none(run.columns.numbers[name][row])
                    for name in numbers
                    if name != step.column
                },
                words={name: _word(run, name, row) for name in labels},
                likelihoods=tuple(_likelihoods(run, step, row)),
                stratum=bins.account(place),
                group=group,
                place=peers.place(place),
                keep=keep,
                own_rule=step.own_rule,
                tests=rules.tests(place),
                rejection=None if passed[place] else run.rejection(row),
                below=_neighbours(run, standing, passed, below),
                above=_neighbours(run, standing, passed, above),
            ),
        )


def _word(run: Finished, name: str, row: int) -> str:
    group = run.columns.groups[name]
    code = int(group.codes[row])
    return "null" if code < 0 else shown(group.words[code])


def _likelihoods(run: Finished, step: FinishedStep, row: int) -> Iterator[LikelihoodAccount]:
    entries = run.columns.entries(np.array([row], dtype=np.int64)).tolist()
    for name in dict.fromkeys(step.likelihoods):
        column = run.columns.likelihoods.get(name)
        if column is None:
            yield LikelihoodAccount(name, Sum(None, 0, Status.NOT_SCORED.reason))
            continue
        own = column.take(np.array(entries, dtype=np.int64))
        each = tuple(_sums(own))
        (whole,) = _sums(pooled(own, np.array([len(each)])))
        yield LikelihoodAccount(name, whole, each if len(each) > 1 else ())


def _sums(column: LikelihoodColumn) -> Iterator[Sum]:
    entries = zip(column.logprob, column.tokens, column.status, strict=True)
    for logprob, tokens, code in entries:
        status = Status(int(code))
        if status == Status.OK:
            yield Sum(float(logprob), int(tokens), None)
        else:
            yield Sum(None, 0, status.reason)


def _neighbours(
    run: Finished, standing: Standing, passed: Bools, places: Sequence[int]
) -> tuple[Neighbour, ...]:
    return tuple(
        Neighbour(
            int(standing.rows[place]),
            float(standing.values[place]),
            bool(passed[place]),
            run.rejection(int(standing.rows[place])),
        )
        for place in places
    )


class _Peers:
    """The records that are ranked with some others, in the order of their values.

    `order` holds places in a Standing, class by class and lowest value first, of equal values the
    earlier record; `codes` are the classes, along `order`.
    """

    def __init__(self, standing: Standing, codes: Ints, at: Sequence[int]) -> None:
        self._standing, self.codes = standing, codes
        touched = np.isin(codes, np.unique(codes[list(at)])) & (codes >= 0)
        some = np.flatnonzero(touched & ~np.isnan(standing.values))
        self._order = some[np.lexsort((standing.values[some], codes[some]))]
        self._values, self._classes = standing.values[self._order], codes[self._order]
        ranked = ~np.isnan(standing.rank[self._order])
        self._before = np.concatenate([[0], np.cumsum(ranked)])

    @classmethod
    def of(cls, step: FinishedStep, standing: Standing, at: Sequence[int]) -> _Peers:
        """Those of a step: the classes are strata crossed with groups, -1 where there is none."""
        codes = np.zeros(len(standing.rows), dtype=np.int64)
        lost = np.zeros(len(codes), dtype=np.bool_)
        if step.strata is not None:
            lost |= standing.stratum < 0
            codes += standing.stratum
        if step.group is not None:
            lost |= standing.group < 0
            codes += standing.group * (step.strata.bins if step.strata else 1)
        return cls(standing, np.where(lost, -1, codes), at)

    def place(self, place: int) -> Place | None:
        """Its rank; None where it has none: no value, no stratum, or outside the bounds."""
        rank = float(self._standing.rank[place])
        if math.isnan(rank):
            return None
        first, end = self._class(place)
        lowest, behind = self._equals(place, first, end)
        count = self._before
        return Place(
            rank,
            int(count[lowest] - count[first]),
            int(count[behind] - count[lowest]),
            int(count[end] - count[first]),
        )

    def beside(self, place: int) -> tuple[list[int], list[int]]:
        """The places below and above it, the nearest first."""
        if self.codes[place] < 0 or np.isnan(self._standing.values[place]):
            return [], []
        first, end = self._class(place)
        lowest, behind = self._equals(place, first, end)
        # Equal values stand in the order of the stream, so the place itself can be looked up.
        own = lowest + int(np.searchsorted(self._order[lowest:behind], place))
        below = self._order[max(first, own - NEIGHBOURS) : own][::-1]
        return below.tolist(), self._order[own + 1 : min(end, own + 1 + NEIGHBOURS)].tolist()

    def _class(self, place: int) -> tuple[int, int]:
        code = self.codes[place]
        first, end = (int(np.searchsorted(self._classes, code, side)) for side in _SIDES)
        return first, end

    def _equals(self, place: int, first: int, end: int) -> tuple[int, int]:
        """Where the values equal to its own begin and end, among those of its class."""
        value, among = self._standing.values[place], self._values[first:end]
        lowest, behind = (first + int(np.searchsorted(among, value, side)) for side in _SIDES)
        return lowest, behind


_SIDES: tuple[Any, Any] = ("left", "right")


class _Bins:
    """The strata of a step, and what each spans."""

    def __init__(self, run: Finished, step: FinishedStep, standing: Standing) -> None:
        self._step, self._standing = step, standing
        self._by: Floats | None = None
        if step.strata is not None and step.strata_by is not None:
            self._by = run.numbers(step.strata_by)[standing.rows]
        self._spans: dict[int, tuple[float, float]] = {}

    def account(self, place: int) -> StratumAccount | None:
        step = self._step
        if self._by is None or step.strata is None or step.strata_by is None:
            return None
        index = int(self._standing.stratum[place])
        if index < 0:
            return StratumAccount(step.strata_by, None, None, step.strata.bins, None, None)
        if index not in self._spans:
            inside = self._by[self._standing.stratum == index]
            self._spans[index] = float(inside.min()), float(inside.max())
        value = float(self._by[place])
        return StratumAccount(step.strata_by, value, index, step.strata.bins, *self._spans[index])


class _Rules:
    """A step's rules as they met its records."""

    def __init__(
        self, run: Finished, step: FinishedStep, standing: Standing, passed: Bools, peers: Ints
    ) -> None:
        self._keep, self._standing, self._peers = step.keep, standing, peers
        self._inside = passed
        if step.keep is not None and step.keep.invert:
            codes = [n for n, reason in enumerate(run.fates.reasons) if reason == "invert"]
            self._inside = ~passed & np.isin(run.fates.reason[standing.rows], codes)
        in_classes = step.strata is not None or step.group is not None
        self._key = standing.rank if in_classes else standing.values
        self._on = "rank" if in_classes else "value"
        self._lowest: dict[int, float | None] = {}

    def tests(self, place: int) -> tuple[Test, ...]:
        """The rules in the order in which they are tried; none of a record that is a null."""
        keep, value = self._keep, float(self._standing.values[place])
        if keep is None or math.isnan(value) or self._peers[place] < 0:
            return ()
        tests = [*_bounds(keep, value)]
        if keep.rank is not None:
            rank, (low, high) = float(self._standing.rank[place]), keep.rank
            tests.append(Test("rank_from", "rank", _or_none(rank), low, rank >= low))
            tests.append(Test("rank_to", "rank", _or_none(rank), high, rank < high))
        for rule in COUNTS:
            if getattr(keep, rule) is not None:
                key, inside = _or_none(float(self._key[place])), bool(self._inside[place])
                tests.append(Test(rule, self._on, key, self._lowest_inside(rule, place), inside))
        return tuple(_until_the_first_failure(tests))

    def _lowest_inside(self, rule: str, place: int) -> float | None:
        group = int(self._standing.group[place]) if rule == "quota" else -1
        if group not in self._lowest:
            inside = self._inside
            if rule == "quota":
                inside = inside & (self._standing.group == group)
            self._lowest[group] = float(self._key[inside].min()) if inside.any() else None
        return self._lowest[group]


def _bounds(keep: Keep, value: float) -> Iterator[Test]:
    for rule in BOUNDS:
        bound = getattr(keep, rule)
        if bound is not None:
            yield Test(rule, "value", value, float(bound), bool(_HOLDS[rule](value, bound)))


def _until_the_first_failure(tests: Sequence[Test]) -> Iterator[Test]:
    decided = False
    for test in tests:
        yield Test(test.rule, test.on, test.number, test.bound, None if decided else test.holds)
        decided = decided or not test.holds


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
