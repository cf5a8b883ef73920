"""The values that flow through a run, in the order in which they flow.

    Record ─▶ Segment ─▶ Request ─▶ TokenSequence ─▶ LikelihoodColumn ─▶ (Table) ─▶ Decisions

The Table has a file of its own. All are frozen; arrays inside them are treated as read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from qaqfilter.printable import printable

N = TypeVar("N", bound=np.generic)

Floats = NDArray[np.float64]
"""A column of numbers, float64; NaN where there is none."""
Ints = NDArray[np.int64]
"""A column of whole numbers, int64: counts, places."""
Bools = NDArray[np.bool_]
"""A column of yes and no."""

LIKELIHOODS = ("query", "answer_given_query", "answer", "query_given_answer")
"""The four likelihoods of a record, as METHODS in docs/methods.md names them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record stands: its source part (a file, a module), ordinal there, and line."""

    part: str
    ordinal: int
    line: int | None = None

    def __str__(self) -> str:
        part = printable(self.part)
        return f"{part}:{self.line}" if self.line is not None else f"{part}#{self.ordinal}"


class Turn(NamedTuple):
    """One turn of a conversation before the query; `text` is data, like query and answer."""

    role: Literal["user", "assistant", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """One (query, answer) pair. `row` is the untouched original, `fields` its parsed form.

    `history` are the turns before the query, oldest first: context in every likelihood.
    `earlier` are the places in it of queries that are scored too, each with the turn behind it as
    its answer. `pooled`: the likelihoods of all these exchanges are added up, as if they were one;
    else each exchange is scored for itself. `input`: what a layout keeps apart of the query
    (Alpaca's `input`), with which it ends, after a line break.
    """

    id: str
    query: str
    answer: str
    row: bytes
    origin: Origin
    system: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Turn, ...] = ()
    earlier: tuple[int, ...] = ()
    pooled: bool = False
    input: str = ""

    @property
    def instruction(self) -> str:
        """The query without `input`."""
        return self.query.removesuffix(f"\n{self.input}") if self.input else self.query

    @property
    def units(self) -> int:
        """How many likelihoods of each name the record has."""
        return 1 if self.pooled else len(self.earlier) + 1

    def exchanges(self) -> tuple[Record, ...]:
        """What is scored, in order: a record for each exchange, the last of which is its own."""
        if not self.earlier:
            return (self,)
        said = self.history
        before = (
            replace(
                self,
                query=said[at].text,
                answer=said[at + 1].text,
                history=said[:at],
                earlier=(),
                input="",
            )
            for at in self.earlier
        )
        return (*before, replace(self, earlier=()))


@dataclass(frozen=True, slots=True)
class BadRecord:
    """Something in the input that is no record: kept as it was, with the reason."""

    error: str
    row: bytes
    origin: Origin


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text that is tokenised on its own.

    `markup=True` is template text, which may hold special tokens; data never does.
    """

    text: str
    markup: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One likelihood to compute: that of `target`, after `context` (either may be empty)."""

    context: tuple[Segment, ...]
    target: Segment


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """What a backend sees: token ids, and the half-open spans of positions to score.

    A span starts at 1 or later: the first token of a sequence has nothing before it.
    Spans may touch, nest and overlap. The first `prefix` ids are the prompt format's own text,
    with which other sequences begin too: a backend may compute them once for all.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    prefix: int = 0


class Status(IntEnum):
    """Why a likelihood is undefined (0: it is defined)."""

    OK = 0
    EMPTY_QUERY = 1
    EMPTY_ANSWER = 2
    TOO_LONG = 3
    NOT_FINITE = 4
    NOT_SCORED = 5
    NO_PROMPT = 6

    @property
    def reason(self) -> str:
        """The word that rejects carry."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive records that reach a stage. `rows` are their positions in the stream."""

    index: int
    rows: Ints
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class LikelihoodColumn:
    """One likelihood for many records: float64 sums (nats), int32 token counts, int8 status."""

    logprob: Floats
    tokens: NDArray[np.int32]
    status: NDArray[np.int8]

    @classmethod
    def empty(cls, size: int) -> LikelihoodColumn:
        """`size` likelihoods that have not been computed."""
        return cls(
            np.full(size, np.nan),
            np.zeros(size, dtype=np.int32),
            np.full(size, Status.NOT_SCORED, dtype=np.int8),
        )

    def take(self, rows: Ints | Bools | slice) -> LikelihoodColumn:
        """Some rows, read-only: a slice is a view."""
        logprob, tokens, status = self.logprob[rows], self.tokens[rows], self.status[rows]
        return LikelihoodColumn(read_only(logprob), read_only(tokens), read_only(status))

    def put(self, rows: Ints, values: LikelihoodColumn) -> None:
        """Overwrite some rows."""
        self.logprob[rows] = values.logprob
        self.tokens[rows] = values.tokens
        self.status[rows] = values.status

    @property
    def nll(self) -> Floats:
        """Mean negative log-likelihood, nats per token; NaN where undefined."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.status == 0, -self.logprob / self.tokens, np.nan)


def read_only(values: NDArray[N]) -> NDArray[N]:
    """The same numbers, which nobody may write to: a table may show the run's own columns."""
    shown = values.view()
    shown.flags.writeable = False
    return shown


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a step decided about each row of its table.

    `reason` indexes into `reasons` (0 means kept); `value` is the number that was judged and
    `bound` what it was judged against, NaN where there is none.
    """

    kept: Bools
    reason: NDArray[np.int16]
    reasons: Sequence[str]
    value: Floats
    bound: Floats

    def shown(self) -> Decisions:
        """The same, read-only: for whoever watches."""
        return replace(
            self,
            kept=read_only(self.kept),
            reason=read_only(self.reason),
            value=read_only(self.value),
            bound=read_only(self.bound),
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one record was thrown out: by which step, for what reason, which number against what.

    `value` and `bound` are None where there is no number (an undefined score).
    """

    step: str
    reason: str
    value: float | None
    bound: float | None
