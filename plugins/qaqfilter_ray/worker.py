"""Actors of the pipeline: one tokenises, one holds a model."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray

from qaqfilter import (
    BackendError,
    LoadsLate,
    Prepares,
    QaqfilterError,
    Readied,
    Stage,
    Window,
    WindowScores,
)
from qaqfilter_ray.ledger import DEATHS
from qaqfilter_ray.rows import Failure, Row

Score = Callable[[Iterable[Any]], Iterator[WindowScores]]


def _guarded(block: pa.Table, work: Callable[[Row], Row]) -> pa.Table:
    """A row through `work`; what fails is a row too, so that Ray does not try it for ever."""
    row = Row.of(block)
    if row.failed is not None:
        return block
    try:
        return work(row).block()
    except QaqfilterError as error:
        return Row(failed=Failure.of(error)).block()
    except Exception as error:  # noqa: BLE001 - of a stage that is not ours, or a fault of ours
        text = f"a worker of the executor 'ray' failed: {type(error).__name__}: {error}"
        return Row(failed=Failure(BackendError, text)).block()


class Tokenizer:
    """Prepares windows for a stage; it loads no weights, where the backend loads them late."""

    def __init__(self, stage: bytes) -> None:
        self._stage = stage
        self._prepare: Callable[[Window], Readied] | None = None
        self._open = ExitStack()

    def __call__(self, block: pa.Table) -> pa.Table:
        """A row with its window prepared."""
        return _guarded(block, self._prepared)

    def _prepared(self, row: Row) -> Row:
        if self._prepare is None:
            stage: Prepares = pickle.loads(self._stage)
            self._prepare = self._open.enter_context(stage.preparing())
        window: Window = pickle.loads(row.window)
        return replace(row, prepared=pickle.dumps(self._prepare(window)))


class Scorer:
    """Holds a model, and scores windows with it: whole, or in pieces where workers died of one."""

    def __init__(self, stage: bytes, number: int, ledger: Any) -> None:
        self._pickled, self._number, self._ledger = stage, number, ledger
        here = ray.get_runtime_context()
        self._id = str(here.get_actor_id())
        self._name = f"node {here.get_node_id()[:8]} worker {self._id[:8]}"
        self._model: tuple[Stage, Score] | None = None
        self._open = ExitStack()

    def __call__(self, block: pa.Table) -> pa.Table:
        """A row with one more answer."""
        return _guarded(block, self._answered)

    def __del__(self) -> None:
        # Ray ends an actor in this way where it does not kill it: the scores of the last seconds
        # go to the store.
        self._open.close()

    def _answered(self, row: Row) -> Row:
        stage, score = self._opened()
        window: Window = pickle.loads(row.window)
        pieces = ray.get(self._ledger.begins.remote(self._number, window.index, len(window.rows)))
        if len(pieces) == 1 and not pieces[0].deaths:
            whole = window if row.prepared is None else pickle.loads(row.prepared)
            self._tries(window, 0)
            found = [*score([whole])]
        else:
            self._load(score, stage.model)  # so that it is not the first piece that dies of it
            found = []
            for number, piece in enumerate(pieces):
                part = Window(
                    window.index,
                    window.rows[piece.start : piece.stop],
                    window.records[piece.start : piece.stop],
                )
                if piece.kills:
                    found.append(self._given_up(stage, part, piece.deaths))
                    continue
                self._tries(window, number)
                found += score([part])
        answer = replace(WindowScores.joined(found), worker=self._name)
        answers = [*row.answers, pickle.dumps(answer)]
        if not ray.get(self._ledger.ends.remote(self._number, window.index)):
            # No window is left for this worker: memory is free for others, scores are stored.
            self._close()
        return replace(row, prepared=None, answers=answers)

    def _tries(self, window: Window, piece: int) -> None:
        ray.get(self._ledger.tries.remote(self._number, window.index, piece))

    def _opened(self) -> tuple[Stage, Score]:
        if self._model is not None:
            return self._model
        stage: Stage = pickle.loads(self._pickled)
        with self._loading(stage.model):
            score: Score = self._open.enter_context(stage.open())
        self._model = stage, score
        return stage, score

    def _load(self, score: Score, model: str) -> None:
        if isinstance(score, LoadsLate):
            with self._loading(model):
                score.load()

    @contextmanager
    def _loading(self, model: str) -> Iterator[None]:
        """Noted, so that who dies of it is not replaced for ever."""
        died = ray.get(self._ledger.loads.remote(self._number, self._id))
        if died >= DEATHS:
            raise BackendError(
                f"model {model!r}: {died} workers in a row were killed while they loaded it, the "
                f"last on {self._name}: nearly always their node lacks the memory; take fewer "
                "workers (run.executor.concurrency), a smaller model or number type, or larger "
                "nodes"
            )
        try:
            yield
        finally:
            ray.get(self._ledger.loaded.remote(self._number, self._id))

    def _given_up(self, stage: Stage, window: Window, deaths: int) -> WindowScores:
        why = f"killed {deaths} workers that scored it with model {stage.model!r}"
        if not isinstance(stage, Prepares):
            raise BackendError(f"{window.records[0].origin}: {why}")
        return stage.skipped(window, why)

    def _close(self) -> None:
        self._model = None
        self._open.close()
