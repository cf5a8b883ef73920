"""Which words one side of a record explains: each token's log-probability with and without it.

    gain of a query token  = log P(q | A) - log P(q)
    gain of an answer token = log P(a | Q) - log P(a)

A positive gain: the other side makes the token likelier, by a factor of exp(gain).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qaqfilter import (
    LIKELIHOODS,
    BackendError,
    Floats,
    Joint,
    PromptError,
    PromptRefused,
    QaqfilterError,
    Record,
    Status,
    UsageError,
    Whole,
    Window,
)
from qaqfilter.asking import make_stage
from qaqfilter.finished import Finished
from qaqfilter.joint_encoding import JointEncoder
from qaqfilter.manager import PluginManager
from qaqfilter.opening import Opened
from qaqfilter.protocols import EncodesWhole, TellsPlaces
from qaqfilter.recipe import Recipe, Step
from qaqfilter.reopening import Reopened
from qaqfilter.stages import ScoringStage

SIDES = {
    "query": ("query", "query_given_answer"),
    "answer": ("answer", "answer_given_query"),
}
"""By side the likelihood of the text alone, and that of the text given the other."""

TOLERANCE = 1e-3
"""By how much, relative to it, a likelihood of a run may be off what its tokens come to here."""


class Placeless(BackendError):  # noqa: N818 - reads as the sentence it is
    """A backend that cannot tell which characters its tokens write: it has no such method."""


class Piece(NamedTuple):
    """A token: which characters of its text it writes, and its log-probability (nats)."""

    start: int
    end: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text with what it has alone and given the other side, in nats.

    One token, or several: those that share a character, or that are cut elsewhere alone than
    given the other side. None where the text is not scored so.
    """

    text: str
    alone: float | None
    given: float | None
    tokens: int

    @property
    def gain(self) -> float | None:
        """What the other side adds."""
        return None if self.alone is None or self.given is None else self.given - self.alone


@dataclass(frozen=True, slots=True)
class Side:
    """The query, or the answer, of one exchange; `missing` says why there are no cells."""

    cells: tuple[Cell, ...] = ()
    missing: str | None = None
    alone: float | None = None
    given: float | None = None
    cut: int = 0
    """Tokens at the end of the text that the model has not seen."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A query and its answer."""

    query: Side
    answer: Side

    def sides(self) -> Iterator[tuple[str, Side]]:
        """By name."""
        yield "query", self.query
        yield "answer", self.answer


@dataclass(frozen=True, slots=True)
class Heatmap:
    """What one model makes of a record by one prompt: its exchanges, oldest first.

    `view` is the model's name, or ``<step>@<model>`` where the step has a prompt of its own.
    """

    view: str
    exchanges: tuple[Exchange, ...]


def views_of(recipe: Recipe, wanted: Sequence[str] = ()) -> dict[str, tuple[Step, str]]:
    """By view, the step and the model behind it: those whose likelihoods the steps use.

    `wanted` are names of views, or of models. Raises UsageError for what is neither.
    """
    found: dict[str, tuple[Step, str]] = {}
    for step in recipe.steps:
        for model, _ in step.needs:
            found.setdefault(step.view(model), (step, model))
    for name in wanted:
        if not any(name in (view, model) for view, (_, model) in found.items()):
            raise UsageError(
                f"no step asks a model that is called {name!r}; they ask: "
                f"{', '.join(found) or 'none'}"
            )
    return {v: of for v, of in found.items() if not wanted or v in wanted or of[1] in wanted}


def heatmaps(
    found: Reopened, manager: PluginManager, view: str, records: Mapping[int, Record]
) -> Iterator[tuple[int, Heatmap]]:
    """Ask a model of the recipe about records, by row. Raises what opening and asking it raise.

    Raises Placeless where the backend cannot tell which words its tokens are, and
    QaqfilterError where the tokens do not add up to the likelihoods of the run.
    """
    step, model = views_of(found.recipe)[view]
    manager.require("backend", found.recipe.models[model].backend.component.name)
    stage = make_stage(
        found.recipe, manager, found.stream, step, model=model, likelihoods=LIKELIHOODS
    )
    with stage.opened() as opened:
        with stage.culprit.blamed("telling where its tokens stand"):
            _check_places(opened)
        for row, record in records.items():
            names = [name for name in LIKELIHOODS if _is_asked(opened, name, record)]
            stage.likelihoods, stage.tokens = tuple(names), frozenset(names)
            shown = Heatmap(view, tuple(_exchanges(stage, opened, record, row)))
            check(found.run, row, shown)
            yield row, shown


def _check_places(opened: Opened) -> None:
    """Before the model is asked for nothing. Raises Placeless where no prompt could be placed."""
    if not isinstance(opened.backend, TellsPlaces | EncodesWhole):
        raise _no_places()


def _no_places() -> Placeless:
    return Placeless(
        "cannot tell which words its tokens are: it has no `places` (see "
        "qaqfilter_backends in docs/hooks.md)"
    )


def _exchanges(stage: ScoringStage, opened: Opened, record: Record, row: int) -> Iterator[Exchange]:
    """Those of one record."""
    exchanges = record.exchanges()
    window = Window(0, np.full(len(exchanges), row, dtype=np.int64), exchanges)
    with stage.scorer(opened) as scorer:
        (scores,) = scorer([window])
    placed = _Placed(opened)
    for number, exchange in enumerate(exchanges):
        tokens: dict[str, Floats | Status] = dict.fromkeys(LIKELIHOODS, Status.NO_PROMPT)
        for name in stage.likelihoods:
            status = Status(int(scores.columns[name].status[number]))
            values = scores.tokens[name][number].astype(np.float64)
            tokens[name] = values if status == Status.OK else status
        with stage.culprit.blamed("telling where its tokens stand"):
            made = _exchange(placed, exchange, tokens)
        yield made


def _is_asked(opened: Opened, likelihood: str, record: Record) -> bool:
    """Whether the prompt knows of the likelihood: those of some scripts know but two."""
    try:
        opened.prompt.request(likelihood, record)
    except PromptRefused:
        return True  # of this record: the scorer will say so
    except PromptError:
        return False
    return True


def check(run: Finished, row: int, shown: Heatmap) -> None:
    """Raises QaqfilterError where a likelihood of the run is not the sum of these tokens."""
    for side, names in SIDES.items():
        for which, name in zip(("alone", "given"), names, strict=True):
            column = run.columns.likelihoods.get(f"{shown.view}.{name}")
            sums = [getattr(getattr(one, side), which) for one in shown.exchanges]
            if column is None or None in sums:
                continue
            entries = run.columns.entries(np.array([row], dtype=np.int64))
            if (column.status[entries] != Status.OK).any():
                continue
            then, now = float(column.logprob[entries].sum()), float(sum(sums))
            if abs(now - then) > TOLERANCE * max(1.0, abs(then)):
                raise QaqfilterError(
                    f"the tokens of {shown.view}.{name} come to {now:.6g} nats here, and the run "
                    f"has {then:.6g}: the model, its library or the machine is another than when "
                    "it was scored, and the heatmap would not be of its numbers; score anew with "
                    "`qaqfilter run RECIPE --replace`, or see the account alone with --no-model"
                )


def _exchange(placed: _Placed, exchange: Record, tokens: Mapping[str, Floats | Status]) -> Exchange:
    made = {}
    for side, (alone, given) in SIDES.items():
        made[side] = _side(placed, exchange, (alone, tokens[alone]), (given, tokens[given]))
    return Exchange(**made)


def _side(
    placed: _Placed,
    exchange: Record,
    alone: tuple[str, Floats | Status],
    given: tuple[str, Floats | Status],
) -> Side:
    for _, values in (given, alone):
        if isinstance(values, Status):
            return Side(missing=values.reason)
    text, left, left_cut = placed(exchange, *alone)
    other, right, right_cut = placed(exchange, *given)
    made = tuple(cells(text, left, other, right))
    sums = [float(np.sum(values)) for _, values in (alone, given)]
    return Side(made, None, sums[0], sums[1], max(left_cut, right_cut))


def cells(text: str, alone: Sequence[Piece], other: str, given: Sequence[Piece]) -> Iterator[Cell]:
    """The tokens of a text alone beside those of it given the other side, in order.

    By the characters that they write: the smallest stretches that begin and end with tokens of
    both. Where `other`, the text given the other side, goes on otherwise than `text`, the rest of
    each stands by itself.
    """
    pairs = enumerate(zip(text, other, strict=False))
    same = next((at for at, (one, two) in pairs if one != two), min(len(text), len(other)))
    ends = {"alone": text, "given": other}
    rest = []
    inside: list[tuple[_Run, str]] = []
    for which, pieces in (("alone", alone), ("given", given)):
        for run in _runs(pieces):
            if run.end <= same and (text == other or run.end > run.start):
                inside.append((run, which))
            else:
                rest.append((run, which))
    done = 0
    for block in _blocks(inside):
        start, end = min(run.start for run, _ in block), max(run.end for run, _ in block)
        if start > done:
            yield Cell(text[done:start], None, None, 0)
        done = max(done, end)
        yield _cell(text[start:end], block)
    for run, which in rest:
        yield _cell(ends[which][run.start : run.end], [(run, which)])


class _Run(NamedTuple):
    """Tokens one after the other that write parts of the same characters."""

    start: int
    end: int
    logprob: float
    tokens: int


def _runs(pieces: Iterable[Piece]) -> list[_Run]:
    found: list[_Run] = []
    for start, end, logprob in pieces:
        last = found[-1] if found else None
        if last is not None and (start < last.end or (last.start == last.end == start)):
            # A token that writes nothing goes with the one behind it.
            found[-1] = _Run(
                last.start, max(last.end, end), last.logprob + logprob, last.tokens + 1
            )
        else:
            found.append(_Run(start, end, logprob, 1))
    return found


def _blocks(runs: Iterable[tuple[_Run, str]]) -> Iterator[list[tuple[_Run, str]]]:
    """Those that overlap, together."""
    block: list[tuple[_Run, str]] = []
    end = 0
    for run, which in sorted(runs):
        empty = run.start == run.end == end and any(r.start == end for r, _ in block)
        if block and run.start >= end and not empty:
            yield block
            block = []
        block.append((run, which))
        end = max(end, run.end)
    if block:
        yield block


def _cell(text: str, block: Sequence[tuple[_Run, str]]) -> Cell:
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for run, which in block:
        sums[which] = sums.get(which, 0.0) + run.logprob
        counts[which] = counts.get(which, 0) + run.tokens
    return Cell(text, sums.get("alone"), sums.get("given"), max(counts.values()))


class _Placed:
    """Finds the characters of the tokens that a prompt asks a backend about."""

    def __init__(self, opened: Opened) -> None:
        self._backend, self._prompt = opened.backend, opened.prompt

    def __call__(self, exchange: Record, name: str, values: Any) -> tuple[str, list[Piece], int]:
        """The text that is asked about, its tokens in order, and how many at its end are cut."""
        request = self._prompt.request(name, exchange)
        if isinstance(request, Joint):
            text, places = self._joint(request)
        else:
            text, places = request.target.text, self._places(request.target.text)
        if len(places) < len(values):
            raise BackendError(
                f"has {len(places)} places for the {len(values)} tokens of a text that it scored"
            )
        pairs = zip(places, values.tolist(), strict=False)
        pieces = [Piece(start, end, value) for (start, end), value in pairs]
        return text, pieces, len(places) - len(values)

    def _places(self, text: str) -> list[tuple[int, int]]:
        if not isinstance(self._backend, TellsPlaces):
            raise _no_places()
        return list(self._backend.places(text))

    def _joint(self, joint: Joint) -> tuple[str, list[tuple[int, int]]]:
        """Of a text that is tokenised whole; the places count from where the target begins."""
        encoded, cut = JointEncoder(self._backend)(joint)
        whole = self._whole(joint.text)
        if encoded is None or whole is None or whole.starts is None:
            raise Placeless(
                "cannot tell where in a text its tokens begin, which this prompt needs; ask the "
                "model through `use: transformers`"
            )
        # What is cut is cut off the end of the text; the tokens behind the text stay.
        inside = len(whole.ids) - whole.tail
        left, ends = inside - cut, [*whole.starts[1:inside], len(joint.text)]
        boundary = joint.boundary or 0
        places = []
        for at in range(encoded.start, len(encoded.ids)):
            start, end = (len(joint.text),) * 2
            if at < left:
                start, end = whole.starts[at], ends[at]
            places.append((max(start, boundary) - boundary, max(end, boundary) - boundary))
        return joint.text[boundary:], places

    def _whole(self, text: str) -> Whole | None:
        return self._backend.encode_whole(text) if isinstance(self._backend, EncodesWhole) else None
