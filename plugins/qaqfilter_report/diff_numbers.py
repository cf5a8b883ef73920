"""How far the numbers of two runs are apart: scores, likelihoods, lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from qaqfilter import Bools, Floats, Ints
from qaqfilter.finished import Finished
from qaqfilter_report.agreement import FEWEST, MOST, spearman
from qaqfilter_report.lengths import SIDES
from qaqfilter_report.matching import Match


class Scores(NamedTuple):
    """A column that both runs have, over the `records` that both have scored.

    `rank` is Spearman's correlation (of at most `agreement.MOST` records), None where one side is
    all the same; `shift` the mean of second minus first, `largest` the largest of these by size;
    `changed` counts values that are not the same. `only_first` and `only_second` are scored by one
    run alone. `judged`: a step of both runs decides by it; likelihoods are nats a token.
    """

    column: str
    judged: bool
    records: int
    only_first: int
    only_second: int
    rank: float | None
    shift: float
    largest: float
    changed: int


class Length(NamedTuple):
    """Median length of a side in tokens by `view`, of matched records by who keeps them.

    `known` says of how many of the matched records there is one. None: of none of a kind.
    """

    side: str
    view: str
    known: int
    both: float | None
    only_first: float | None
    only_second: float | None
    neither: float | None


def scores(first: Finished, second: Finished, match: Match) -> Iterator[Scores]:
    """Columns of steps in the first run's order, then likelihoods."""
    ours, theirs = ({c: None for s in run.steps for c in s.columns} for run in (first, second))
    judged = {s.column for s in first.steps} & {s.column for s in second.steps}
    for name in ours:
        if name in theirs:
            values = first.numbers(name)[match.first], second.numbers(name)[match.second]
            yield from _column(name, *values, judged=name in judged)
    for name in first.columns.likelihoods:
        if name in second.columns.likelihoods:
            values = first.nll(name)[match.first], second.nll(name)[match.second]
            yield from _column(name, *values, judged=False)


def _column(name: str, first: Floats, second: Floats, *, judged: bool) -> Iterator[Scores]:
    """Nothing of a column that no record has in both."""
    there = np.isfinite(first), np.isfinite(second)
    both = there[0] & there[1]
    one, other = first[both], second[both]
    if not len(one):
        return
    shift = other - one
    changed = int(np.count_nonzero(shift))
    yield Scores(
        name,
        judged,
        len(one),
        int(np.count_nonzero(there[0] & ~both)),
        int(np.count_nonzero(there[1] & ~both)),
        _rank(one, other, changed),
        float(shift.mean()),
        float(shift[np.argmax(np.abs(shift))]),
        changed,
    )


def _rank(one: Floats, other: Floats, changed: int) -> float | None:
    if len(one) < FEWEST:
        return None
    if not changed:  # no need to sort
        return None if one.min() == one.max() else 1.0
    if len(one) > MOST:
        drawn = np.random.default_rng(0).choice(len(one), MOST, replace=False)
        one, other = one[drawn], other[drawn]
    return spearman(one, other)


def lengths(
    first: Finished, second: Finished, match: Match, kinds: tuple[Bools, Bools, Bools, Bools]
) -> Iterator[Length]:
    """Of the sides whose tokens a model has counted. `kinds`: both, either alone, neither."""
    for side, likelihoods in SIDES.items():
        found = _tokens(first, second, match, likelihoods)
        if found is not None:
            view, tokens = found
            known = int(np.count_nonzero(tokens))
            yield Length(side, view, known, *(_median(tokens[who]) for who in kinds))


def _tokens(
    first: Finished, second: Finished, match: Match, likelihoods: tuple[str, ...]
) -> tuple[str, Ints] | None:
    """The view whose tokenizer has counted most records, and the matched ones' tokens (0: none).

    What one run has not scored, the other may have: by the same tokenizer it is the same count.
    """
    found: dict[str, tuple[str, Ints]] = {}
    for run, rows in ((first, match.first), (second, match.second)):
        cutting = {model.name: model.tokenizer or model.fingerprint for model in run.models}
        for name in run.columns.likelihoods:
            view, _, likelihood = name.rpartition(".")
            if likelihood not in likelihoods:
                continue
            column = run.columns.pooled(name)
            tokens = np.where(column.status == 0, column.tokens, 0)[rows].astype(np.int64)
            by = cutting.get(view.rpartition("@")[2], f"{id(run)} {view}")
            if by in found:
                view, before = found[by]
                tokens = np.where(before > 0, before, tokens)
            found[by] = view, tokens
    known = [one for one in found.values() if one[1].any()]
    return max(known, key=lambda one: np.count_nonzero(one[1]), default=None)


def _median(tokens: Ints) -> float | None:
    known = tokens[tokens > 0]
    return float(np.median(known)) if len(known) else None
