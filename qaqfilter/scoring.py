"""Windows of records through an open model: prepared ahead, asked, handed back as columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing

import numpy as np

from qaqfilter.ahead import one_ahead
from qaqfilter.answering import Answerer, Progress, Tokens
from qaqfilter.blame import Culprit
from qaqfilter.errors import ModelError
from qaqfilter.execution import Readied, WindowScores
from qaqfilter.hanging import Watch
from qaqfilter.nulls import not_finite
from qaqfilter.one_tokenizer import tokenizer_digest
from qaqfilter.preparing import Prepared, Preparer
from qaqfilter.protocols import Backend, LoadsLate, PromptFormat
from qaqfilter.recipe_keys import TooLong
from qaqfilter.store import ScoreStore
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import Ints, LikelihoodColumn, Record, Status, Window
from qaqfilter.units import pooled


class Scorer:
    """Scores windows with an open backend; the next is read and tokenised meanwhile."""

    def __init__(
        self,
        model: Culprit | str,
        backend: Backend,
        prompt: PromptFormat,
        likelihoods: Sequence[str],
        *,
        too_long: TooLong = "reject",
        store: ScoreStore | None = None,
        progress: Progress = lambda records, tokens: None,
        window_seconds: float | None = None,
        tokens: Collection[str] = (),
    ) -> None:
        self._model = Culprit(model) if isinstance(model, str) else model
        self._backend = backend
        self._likelihoods = tuple(likelihoods)
        self._detailed = np.array([name in tokens for name in likelihoods], dtype=np.bool_)
        self._prepare = Preparer(backend, prompt, likelihoods, too_long)
        # Two, since the next window is tokenised while the model works on this one.
        self._watch = Watch(self._model, window_seconds)
        self._watch_ahead = Watch(self._model, window_seconds)
        self._tokenizer = ""
        self._answers = Answerer(self._model, backend, self._watch, store, progress)

    def __call__(self, windows: Iterable[Window | Readied]) -> Iterator[WindowScores]:
        """Yield one WindowScores a window, in order; what is prepared is not prepared again."""
        with (
            closing(self._watch),
            closing(self._watch_ahead),
            closing(one_ahead(map(self._prepared, windows))) as coming,
        ):
            for prepared in coming:
                self._watch.begin(prepared.window)
                yield self._score(prepared)

    def load(self) -> None:
        """Load weights that load late now, and not with the first sequence that needs them."""
        if isinstance(self._backend, LoadsLate):
            with self._model.blamed("loading it", ModelError):
                self._backend.load()

    def _prepared(self, window: Window | Readied) -> Prepared:
        ready = window if isinstance(window, Prepared) else None
        window = window if isinstance(window, Window) else window.window
        self._watch_ahead.begin(window)
        with self._model.blamed("preparing its texts"):
            if not self._tokenizer:
                self._tokenizer = self._watch_ahead.call(tokenizer_digest, self._backend)
            return ready or self._watch_ahead.call(self._prepare, window)

    def _score(self, prepared: Prepared) -> WindowScores:
        window, owner = prepared.window, prepared.owner
        # Which exchange and which likelihood each request of the plan belongs to.
        exchange, likelihood = np.nonzero(prepared.status == Status.OK)
        detailed = self._detailed[likelihood] if self._detailed.any() else None
        answers, found, cost = self._answers(
            prepared.plan, owner[exchange], len(window.records), detailed
        )
        columns = {}
        for number, name in enumerate(self._likelihoods):
            column = LikelihoodColumn.empty(len(owner))
            column.status[:] = prepared.status[:, number]
            column.put(exchange[likelihood == number], answers.take(likelihood == number))
            columns[name] = column
        nulls = not_finite([c.status for c in columns.values()], owner, window.records)
        counts = _exchanges_by_unit(window.records)
        if len(counts) != len(owner):
            columns = {name: pooled(column, counts) for name, column in columns.items()}
        with self._model.blamed("giving its facts"):
            batch_tokens, facts = self._backend.batch_tokens, self._backend.facts
        return WindowScores(
            window.rows,
            columns,
            np.bincount(owner, prepared.cut, len(window.records)).astype(np.int64),
            cost,
            batch_tokens,
            facts,
            nulls,
            prepared.refused,
            {} if found is None else self._tokens(found, exchange, likelihood, columns, counts),
            self._tokenizer,
        )

    def _tokens(
        self,
        found: Tokens,
        exchange: Ints,
        likelihood: Ints,
        columns: Mapping[str, LikelihoodColumn],
        counts: Ints,
    ) -> dict[str, TokenLogprobs]:
        """By likelihood, for each unit the tokens of its exchanges, as many as its column says."""
        nothing = np.empty(0, dtype=np.float32)
        ends = np.cumsum(counts)
        tokens = {}
        for number in np.flatnonzero(self._detailed).tolist():
            name = self._likelihoods[number]
            arrays = [nothing] * int(counts.sum())
            for request in np.flatnonzero(likelihood == number).tolist():
                one = found[request]
                arrays[exchange[request]] = nothing if one is None else one
            defined = (columns[name].status == Status.OK).tolist()
            tokens[name] = TokenLogprobs.of(
                [
                    np.concatenate(arrays[first:end]) if there else nothing
                    for first, end, there in zip(ends - counts, ends, defined, strict=True)
                ]
            )
        return tokens


def _exchanges_by_unit(records: Sequence[Record]) -> Ints:
    """How many exchanges each unit has: all of a record that is pooled, else one."""
    counts: list[int] = []
    for record in records:
        counts += [len(record.earlier) + 1] if record.pooled else [1] * record.units
    return np.array(counts, dtype=np.int64)
