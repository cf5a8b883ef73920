"""The records that a report shows in full, each with what every step made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from qaqfilter import Record
from qaqfilter.finished import Finished
from qaqfilter_report.code import highlighted, seen
from qaqfilter_report.explaining import LikelihoodAccount, StepAccount, explained
from qaqfilter_report.wording import count, number

MOST = 1500
"""Characters that are shown of a query or an answer: a report has hundreds of them."""
LABEL = 120


class Line(NamedTuple):
    """What one step made of a record; everything is text."""

    step: str
    score: str
    stratum: str
    rank: str
    beside: str
    decided: str


@dataclass(frozen=True, slots=True)
class Card:
    """A record: its texts are HTML, `lines` has one for each step that it reached."""

    row: int
    label: Markup
    place: Markup
    kept: bool
    outcome: str
    query: Markup
    answer: Markup
    lines: Sequence[Line]
    likelihoods: Sequence[tuple[str, str]]

    def score_of(self, step: str) -> str:
        """What a step gave it."""
        return next((line.score for line in self.lines if line.step == step), "")


def cards(run: Finished, records: Mapping[int, Record], rows: Sequence[int]) -> dict[int, Card]:
    """The cards of some rows."""
    accounts = explained(run, rows)
    return {row: _card(run, row, records[row], accounts[row]) for row in rows}


def _card(run: Finished, row: int, record: Record, accounts: Sequence[StepAccount]) -> Card:
    rejection = run.rejection(row)
    asked = {one.name: one for account in accounts for one in account.likelihoods}
    return Card(
        row=row,
        label=seen(short(record.id)),
        place=seen(f"{short(record.origin.part)}#{record.origin.ordinal}"),
        kept=rejection is None,
        outcome="kept"
        if rejection is None
        else f"rejected by {rejection.step}: {rejection.reason}",
        query=highlighted(record.query, MOST),
        answer=highlighted(record.answer, MOST),
        lines=list(_lines(accounts)),
        likelihoods=[(one.name, _nats(one)) for one in asked.values()],
    )


def _lines(accounts: Sequence[StepAccount]) -> Iterator[Line]:
    for it in accounts:
        if not it.reached:
            continue
        bins, place = it.stratum, it.place
        stratum = rank = "–"
        if bins is not None and bins.index is not None:
            stratum = f"{bins.index + 1} of {bins.bins}"
        if place is not None:
            rank = f"{number(place.rank, 3)} of {count(place.of)}"
        beside = [number(one[0].value) if one else "–" for one in (it.below, it.above)]
        yield Line(
            it.id,
            number(it.value),
            stratum,
            rank,
            " … ".join(beside),
            "passed" if it.rejection is None else _why(it),
        )


def _why(it: StepAccount) -> str:
    """The reason, and what was compared with what."""
    out = it.rejection
    if out is None:
        return ""
    if out.value is None or out.bound is None:
        return out.reason
    return f"{out.reason}: {number(out.value)} against {number(out.bound)}"


def _nats(one: LikelihoodAccount) -> str:
    nll = one.whole.nll
    return f"{one.whole.missing}" if nll is None else f"{number(nll)} ({count(one.whole.tokens)})"


def short(text: str, most: int = LABEL) -> str:
    """The beginning of a text that may be of any length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
