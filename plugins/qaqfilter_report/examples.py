"""Records that two runs treat differently, with what each made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qaqfilter import Bools, Ints, Record, Rejection
from qaqfilter.finished import Finished
from qaqfilter.reopening import Reopened
from qaqfilter.viewing import shortened
from qaqfilter_report.cards import Card, cards
from qaqfilter_report.matching import Match

COMPARED = 100
"""Pairs that are matched by id whose texts are compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """A record as one run has it. `scores` are what its steps judge, None where undefined."""

    record: Record
    rejection: Rejection | None
    scores: Mapping[str, float | None]
    card: Card

    def as_data(self) -> dict[str, Any]:
        """As plain data, without the text."""
        out = self.rejection
        return {
            "kept": out is None,
            "step": out and out.step,
            "reason": out and out.reason,
            "value": out and _or_none(out.value),
            "bound": out and _or_none(out.bound),
            "scores": dict(self.scores),
        }


@dataclass(frozen=True, slots=True)
class Example:
    """A record that one run keeps and the other does not."""

    first: Side
    second: Side

    @property
    def record(self) -> Record:
        """That of the first run."""
        return self.first.record

    @property
    def lost(self) -> Side:
        """That of the run which threw it out."""
        return self.second if self.first.rejection is None else self.first

    @property
    def same_text(self) -> bool:
        """Whether both runs read the same; records that are matched by id need not be."""
        return same_text(self.first.record, self.second.record)

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        record = self.record
        return {
            "id": record.id,
            "part": record.origin.part,
            "ordinal": record.origin.ordinal,
            "earlier_turns": len(record.history),
            "query": record.query,
            "answer": record.answer,
            "same_text": self.same_text,
            "first": self.first.as_data(),
            "second": self.second.as_data(),
        }


@dataclass(frozen=True, slots=True)
class Examples:
    """Of the records that one run alone keeps: some at random, and the clearest of the others.

    The clearest are those that the other run threw out by the most, as a share of how widely the
    numbers of that step and reason are spread.
    """

    drawn: Sequence[Example]
    clearest: Sequence[Example]

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "drawn": [example.as_data() for example in self.drawn],
            "clearest": [example.as_data() for example in self.clearest],
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """Those that the first alone keeps, and those that the second alone keeps.

    Of `compared` pairs that are matched by id, drawn at random, `other` have another text.
    """

    first: Examples
    second: Examples
    compared: int
    other: int


def examples(first: Reopened, second: Reopened, match: Match, count: int) -> Shown:
    """`count` of each kind; nothing is read for none. Raises SourceError as Reopened does."""
    kept = first.run.kept[match.first], second.run.kept[match.second]
    rng = np.random.default_rng(0)
    chosen = [
        _chosen(kept[0] & ~kept[1], second.run, match.second, count, rng),
        _chosen(kept[1] & ~kept[0], first.run, match.first, count, rng),
    ]
    shown = np.unique(np.concatenate([places for pair in chosen for places in pair]))
    compared = np.empty(0, dtype=np.int64)
    if match.by == "id" and count:
        compared = rng.choice(
            len(match.first), min(COMPARED, len(match.first)), replace=False
        ).astype(np.int64)
    texts = _texts(first, second, match, np.union1d(shown, compared))
    found = dict(_made(first.run, second.run, match, shown, texts))
    left, right = (
        Examples(*([found[place] for place in places.tolist()] for places in pair))
        for pair in chosen
    )
    pairs = (_pair(match, place, texts) for place in compared.tolist())
    return Shown(left, right, len(compared), sum(not same_text(*pair) for pair in pairs))


def same_text(one: Record, other: Record) -> bool:
    """Whether the models see the same of both."""
    return _seen(one) == _seen(other)


def _seen(record: Record) -> tuple[Any, ...]:
    return record.query, record.answer, record.system, record.history


def _chosen(
    who: Bools, other: Finished, rows: Ints, count: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Places in the match: some at random, and the clearest of the others."""
    places = np.flatnonzero(who).astype(np.int64)
    drawn = np.sort(rng.choice(places, min(count, len(places)), replace=False))
    left = np.setdiff1d(places, drawn, assume_unique=True)
    return drawn, left[_clearest(other, rows[left], rows[places], count)]


def _clearest(run: Finished, rows: Ints, all_of_them: Ints, count: int) -> Ints:
    """Which of these rejected rows are the farthest behind their bounds."""
    margins = np.full(len(rows), np.nan)
    fates = run.fates
    for code in np.unique(fates.reason[rows]):  # a reason is of one step
        values = fates.value[all_of_them[fates.reason[all_of_them] == code]]
        values = values[np.isfinite(values)]
        spread = float(values.std()) if len(values) else 0.0
        here = fates.reason[rows] == code
        if spread > 0:
            margins[here] = np.abs(fates.value[rows] - fates.bound[rows])[here] / spread
    known = np.flatnonzero(np.isfinite(margins))
    best = known[np.argsort(-margins[known], kind="stable")[:count]]
    return best.astype(np.int64)


_Texts = tuple[Mapping[int, Record], Mapping[int, Record]]


def _texts(first: Reopened, second: Reopened, match: Match, places: Ints) -> _Texts:
    """By row, the records of either run. What both read in the same way is read once."""
    rows = match.first[places].tolist(), match.second[places].tolist()
    ours = {row: shortened(record) for row, record in first.records(rows[0]).items()}
    if match.by == "row" and _layout(first) == _layout(second):
        return ours, {b: ours[a] for a, b in zip(*rows, strict=True)}
    return ours, {row: shortened(record) for row, record in second.records(rows[1]).items()}


def _layout(run: Reopened) -> dict[str, Any]:
    """How the input becomes records, wherever it stands."""
    where = ("path", "on_error", "max_errors")
    return {key: value for key, value in run.manifest.recipe["input"].items() if key not in where}


def _pair(match: Match, place: int, texts: _Texts) -> tuple[Record, Record]:
    return texts[0][int(match.first[place])], texts[1][int(match.second[place])]


def _made(
    first: Finished, second: Finished, match: Match, places: Ints, texts: _Texts
) -> Iterator[tuple[int, Example]]:
    rows = match.first[places].tolist(), match.second[places].tolist()
    sides = _sides(first, rows[0], texts[0]), _sides(second, rows[1], texts[1])
    for place, a, b in zip(places.tolist(), *rows, strict=True):
        yield place, Example(sides[0][a], sides[1][b])


def _sides(run: Finished, rows: list[int], texts: Mapping[int, Record]) -> dict[int, Side]:
    columns = {step.column: run.numbers(step.column) for step in run.steps} if rows else {}
    made = cards(run, texts, rows)
    return {
        row: Side(
            texts[row],
            run.rejection(row),
            {name: _or_none(values[row]) for name, values in columns.items()},
            made[row],
        )
        for row in rows
    }


def _or_none(value: float | None) -> float | None:
    """As JSON can have it."""
    return float(value) if value is not None and np.isfinite(value) else None
