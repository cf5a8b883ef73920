"""One model over windows of records: load it, ask for likelihoods, hand back columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qaqfilter.ahead import one_ahead
from qaqfilter.batching import plan_batches
from qaqfilter.blame import Culprit
from qaqfilter.blocks import Block
from qaqfilter.costs import Cost
from qaqfilter.digests import VerifiedResources
from qaqfilter.execution import WindowScores
from qaqfilter.hanging import Watch
from qaqfilter.identity import Score
from qaqfilter.metering import Clock, cost_of, records_done, work_of
from qaqfilter.nulls import not_finite
from qaqfilter.opening import Opened, opened
from qaqfilter.options import LOCATION, fields_marked
from qaqfilter.planning import Plan, Results, check_results
from qaqfilter.preparing import Prepared, Preparer
from qaqfilter.protocols import Backend, LoadsLate, PromptFormat, Resources
from qaqfilter.recipe_keys import TooLong
from qaqfilter.store import ScoreStore, open_store
from qaqfilter.types import (
    Floats,
    Ints,
    LikelihoodColumn,
    Record,
    Status,
    TokenSequence,
    Window,
)
from qaqfilter.units import pooled

Progress = Callable[[int, int], None]
"""Called with (records done, tokens done) after every batch."""


@dataclass(slots=True)
class ScoringStage:
    """One model, one prompt, and the likelihoods that are wanted of every record."""

    model: str
    backend: Block
    prompt: Block
    likelihoods: tuple[str, ...]
    resources: Resources
    too_long: TooLong = "reject"
    store: Path | None = None
    progress: Progress = lambda records, tokens: None
    sha256: str | Mapping[str, str] | None = None
    window_seconds: float | None = None

    @property
    def culprit(self) -> Culprit:
        """The model as messages name it."""
        # A step's own view of a model is called <step>@<model>.
        return Culprit(
            self.model.rpartition("@")[2], self.backend.component.name, self.location or ""
        )

    def opened(self) -> AbstractContextManager[Opened]:
        """Backend and prompt, made; weights that load late are not loaded."""
        return opened(self.culprit, self.backend, self.prompt, self.resources, self._verified())

    @contextmanager
    def open(self) -> Iterator[Callable[[Iterable[Window]], Iterator[WindowScores]]]:
        """Load the model; free it on leaving, whatever happened."""
        with self.opened() as model, open_store(self.store, model.facts) as store:
            yield Scorer(
                self.culprit,
                model.backend,
                model.prompt,
                self.likelihoods,
                too_long=self.too_long,
                store=store,
                progress=self.progress,
                window_seconds=self.window_seconds,
            )

    @property
    def location(self) -> str | None:
        """Where the weights come from: the option `model`, else the first that is a location."""
        names = fields_marked(self.backend.component.config, LOCATION)
        if not names:
            return None
        found: str | None = getattr(self.backend.options, "model" if "model" in names else names[0])
        return found

    def _verified(self) -> Resources:
        """For the backend alone: a prompt may borrow its template from another model."""
        if self.sha256 is None or self.location is None:
            return self.resources
        return VerifiedResources(self.resources, self.location, self.sha256)


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
    ) -> None:
        self._model = Culprit(model) if isinstance(model, str) else model
        self._load = backend.load if isinstance(backend, LoadsLate) else lambda: None
        self._backend = backend
        self._likelihoods = tuple(likelihoods)
        self._store = store
        self._progress = progress
        self._prepare = Preparer(backend, prompt, likelihoods, too_long)
        # Two, since the next window is tokenised while the model works on this one.
        self._watch = Watch(self._model, window_seconds)
        self._watch_ahead = Watch(self._model, window_seconds)

    def __call__(self, windows: Iterable[Window]) -> Iterator[WindowScores]:
        """Yield one WindowScores a window, in order."""
        with (
            closing(self._watch),
            closing(self._watch_ahead),
            closing(one_ahead(map(self._prepared, windows))) as coming,
        ):
            for prepared in coming:
                self._watch.begin(prepared.window)
                yield self._score(prepared)

    def _prepared(self, window: Window) -> Prepared:
        self._watch_ahead.begin(window)
        with self._model.blamed("preparing its texts"):
            return self._watch_ahead.call(self._prepare, window)

    def _score(self, prepared: Prepared) -> WindowScores:
        window, owner = prepared.window, prepared.owner
        # Which exchange and which likelihood each request of the plan belongs to.
        exchange, likelihood = np.nonzero(prepared.status == Status.OK)
        answers, cost = self._answers(prepared.plan, owner[exchange], len(window.records))
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
        )

    def _answers(self, plan: Plan, record: Ints, records: int) -> tuple[LikelihoodColumn, Cost]:
        """The plan's likelihoods, from the store or from the backend, and what they cost."""
        clock = Clock()
        # Asked for its budget, a backend may load the model.
        with clock, self._model.blamed("choosing its batch size"):
            before = work_of(self._backend)
            # Planned before the store is asked, and computed whole where anything is missing: so
            # the batches, and with them the last digits, are those of an uninterrupted run.
            batches = plan_batches(plan.sequences, self._backend.batch_tokens)
        ready, *done = records_done(plan, batches, record, records)
        self._progress(ready, 0)
        users = plan.requests_by_sequence()
        keys: Sequence[Any] = range(len(plan.routes))  # without a store, any name will do
        known: dict[Any, Score] = {}
        if self._store is not None:
            with self._model.blamed("encoding texts"):  # as what is no token id
                keys = plan.keys()
            known |= self._store.find(keys)
        stored = 0
        for batch, finished in zip(batches, done, strict=True):
            requests = sorted(request for index in batch for request in users[index])
            given = [plan.sequences[i] for i in batch]
            tokens = sum(len(sequence.ids) for sequence in given)
            if all(keys[request] in known for request in requests):
                stored += tokens
            else:
                with clock, self._model.blamed("scoring"):
                    answered = self._ask(given)
                results = dict(zip(batch, answered, strict=True))
                fresh = _scores(plan, results, requests, keys)
                # What came first counts: it is what a run that goes on from here will find.
                new = {key: score for key, score in fresh.items() if key not in known}
                known |= new
                if self._store is not None:
                    self._store.add(new)
            self._progress(finished, tokens)
        with self._model.blamed("counting its work"):
            cost = cost_of(plan, stored, before, work_of(self._backend), clock.seconds)
        return _column([known[key] for key in keys]), cost

    def _ask(self, sequences: Sequence[TokenSequence]) -> Results:
        """The backend's answers, checked."""
        self._load()  # here, where nobody looks at the watch
        return check_results(sequences, self._watch.call(self._backend.logprobs, sequences))


def _exchanges_by_unit(records: Sequence[Record]) -> Ints:
    """How many exchanges each unit has: all of a record that is pooled, else one."""
    counts: list[int] = []
    for record in records:
        counts += [len(record.earlier) + 1] if record.pooled else [1] * record.units
    return np.array(counts, dtype=np.int64)


def _column(scores: Sequence[Score]) -> LikelihoodColumn:
    logprob, tokens, status = zip(*scores, strict=True) if scores else ((), (), ())
    return LikelihoodColumn(
        np.array(logprob, dtype=np.float64),
        np.array(tokens, dtype=np.int32),
        np.array(status, dtype=np.int8),
    )


def _scores(
    plan: Plan,
    results: Mapping[int, Sequence[Floats]],
    requests: Sequence[int],
    keys: Sequence[Any],
) -> dict[Any, Score]:
    """The scores of a computed batch by key; of equal keys the first."""
    column = plan.answers(results, requests)
    values = (column.logprob.tolist(), column.tokens.tolist(), column.status.tolist())
    found: dict[Any, Score] = {}
    for request, score in zip(requests, zip(*values, strict=True), strict=True):
        found.setdefault(keys[request], Score(*score))
    return found
