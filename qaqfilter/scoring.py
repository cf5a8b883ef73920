"""One model over windows of records: load it, ask for likelihoods, hand back columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qaqfilter.ahead import one_ahead
from qaqfilter.batching import plan_batches
from qaqfilter.blocks import Block
from qaqfilter.costs import Cost, Work
from qaqfilter.execution import WindowScores
from qaqfilter.identity import Score
from qaqfilter.planning import Plan, check_results
from qaqfilter.preparing import Prepared, Preparer
from qaqfilter.protocols import Backend, CountsWork, PromptFormat, Resources
from qaqfilter.recipe_keys import TooLong
from qaqfilter.store import ScoreStore, open_store
from qaqfilter.types import Floats, Ints, LikelihoodColumn, Status, Window

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

    @contextmanager
    def open(self) -> Iterator[Callable[[Iterable[Window]], Iterator[WindowScores]]]:
        """Load the model; free it on leaving, whatever happened."""
        backend: Backend = self.backend.component.create(self.backend.options, self.resources)
        try:
            prompt = self.prompt.component.create(self.prompt.options, backend, self.resources)
            with open_store(self.store, backend.facts) as store:
                yield Scorer(
                    self.model,
                    backend,
                    prompt,
                    self.likelihoods,
                    too_long=self.too_long,
                    store=store,
                    progress=self.progress,
                )
        finally:
            backend.close()


class Scorer:
    """Scores windows with an open backend; the next is read and tokenised meanwhile."""

    def __init__(
        self,
        model: str,
        backend: Backend,
        prompt: PromptFormat,
        likelihoods: Sequence[str],
        *,
        too_long: TooLong = "reject",
        store: ScoreStore | None = None,
        progress: Progress = lambda records, tokens: None,
    ) -> None:
        self._model = model
        self._backend = backend
        self._likelihoods = tuple(likelihoods)
        self._store = store
        self._progress = progress
        self._prepare = Preparer(backend, prompt, likelihoods, too_long)

    def __call__(self, windows: Iterable[Window]) -> Iterator[WindowScores]:
        """Yield one WindowScores a window, in order."""
        with closing(one_ahead(map(self._prepare, windows))) as coming:
            for prepared in coming:
                yield self._score(prepared)

    def _score(self, prepared: Prepared) -> WindowScores:
        window = prepared.window
        # Which record and which likelihood each request of the plan belongs to.
        record, likelihood = np.nonzero(prepared.status == Status.OK)
        answers, cost = self._answers(prepared.plan, record, len(window.records))
        columns = {}
        for number, name in enumerate(self._likelihoods):
            column = LikelihoodColumn.empty(len(window.records))
            column.status[:] = prepared.status[:, number]
            column.put(record[likelihood == number], answers.take(likelihood == number))
            columns[name] = column
        return WindowScores(
            window.rows,
            columns,
            prepared.cut,
            cost,
            self._backend.batch_tokens,
            self._backend.facts,
        )

    def _answers(self, plan: Plan, record: Ints, records: int) -> tuple[LikelihoodColumn, Cost]:
        """The plan's likelihoods, from the store or from the backend, and what they cost."""
        before = _work_of(self._backend)
        clock = _Clock()
        with clock:  # asked for its budget, a backend may load the model
            budget = self._backend.batch_tokens
        # Planned before the store is asked, and computed whole where anything is missing: so the
        # batches, and with them the last digits, are those of a run that was never interrupted.
        batches = plan_batches(plan.sequences, budget)
        ready, *done = _records_done(plan, batches, record, records)
        self._progress(ready, 0)
        users = plan.requests_by_sequence()
        keys: Sequence[Any] = range(len(plan.routes))  # without a store, any name will do
        known: dict[Any, Score] = {}
        if self._store is not None:
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
                with clock:
                    answered = self._backend.logprobs(given)
                check_results(given, answered, f"of model {self._model!r}")
                results = dict(zip(batch, answered, strict=True))
                fresh = _scores(plan, results, requests, keys)
                # What came first counts: it is what a run that goes on from here will find.
                new = {key: score for key, score in fresh.items() if key not in known}
                known |= new
                if self._store is not None:
                    self._store.add(new)
            self._progress(finished, tokens)
        cost = _cost(plan, stored, before, _work_of(self._backend), clock.seconds)
        return _column([known[key] for key in keys]), cost


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


class _Clock:
    """Adds up the wall time of its `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.seconds -= time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()


def _records_done(
    plan: Plan, batches: Sequence[Sequence[int]], record: Ints, records: int
) -> list[int]:
    """How many records have all their numbers before the first batch, after it, and so on."""
    batch_of = np.zeros(len(plan.sequences), dtype=np.int64)
    for number, batch in enumerate(batches):
        batch_of[list(batch)] = number + 1
    last = np.zeros(records, dtype=np.int64)
    hosts = np.array([sequence for sequence, _ in plan.routes], dtype=np.int64)
    np.maximum.at(last, record, batch_of[hosts])
    found: list[int] = np.bincount(last, minlength=len(batches) + 1).tolist()
    return found


def _work_of(backend: Backend) -> Work | None:
    return backend.work if isinstance(backend, CountsWork) else None


def _cost(plan: Plan, stored: int, before: Work | None, after: Work | None, seconds: float) -> Cost:
    if before is None or after is None:
        computed = plan.tokens - stored
        return Cost(plan.asked, plan.tokens, computed, stored, seconds=seconds)
    computed, reused, padding = (now - then for now, then in zip(after, before, strict=True))
    return Cost(plan.asked, plan.tokens, computed, stored, reused, padding, seconds)
