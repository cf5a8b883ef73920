"""The contract of executors: every window once, and the model freed whatever happens.

Windows come in two kinds: those of this process alone, which are scored here, and divisible ones,
whose scores may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from qaqfilter.costs import Cost
from qaqfilter.errors import BackendError
from qaqfilter.execution import Divided, Executor, Starts, WindowScores
from qaqfilter.protocols import Component
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.rules import rule
from qaqfilter.testing.samples import record
from qaqfilter.types import LikelihoodColumn, Window

HOOK = "qaqfilter_executors"
SIZE = 3


def _nothing(records: int, tokens: int) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class CountingStage:
    """A stage without a model. It counts how often it was opened and left; window `fails` fails."""

    model: str = "counted"
    fails: int | None = None
    opened: int = 0
    left: int = 0
    progress: Callable[[int, int], None] = _nothing

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere nobody watches, as with a stage of a run."""
        return CountingStage, (self.model, self.fails)

    def open(self) -> CountingStage:
        """As the core's own stage: what it gives yields a WindowScores for each window."""
        return self

    # Not by contextlib: what that makes is left when it is forgotten, too.
    def __enter__(self) -> Callable[[Iterable[Window]], Iterator[WindowScores]]:
        self.opened += 1
        return self._score

    def __exit__(self, *_error: object) -> None:
        self.left += 1

    def _score(self, windows: Iterable[Window]) -> Iterator[WindowScores]:
        for window in windows:
            if window.index == self.fails:
                raise BackendError("the model failed")
            size = len(window.rows)
            sums = LikelihoodColumn(
                -window.rows.astype(np.float64) - 1.0,
                np.ones(size, np.int32),
                np.zeros(size, np.int8),
            )
            cut = np.zeros(size, dtype=np.int64)
            columns, facts = {"answer": sums}, {"window": window.index}
            self.progress(size, 0)
            yield WindowScores(window.rows, columns, cut, Cost(), 64, facts)


@dataclass(frozen=True, slots=True)
class Numbered:
    """So many windows that can be divided: two to a range, read wherever the ranges go."""

    number: int

    def __iter__(self) -> Iterator[Window]:
        return windows(self.number)

    def divided(self) -> Divided:
        """Pairs of windows."""
        return Divided(self, range(0, self.number, 2), self.number)

    def windows(self, part: int) -> Iterator[Window]:
        """Those of a range."""
        return (window for window in self if part <= window.index < part + 2)


class Anywhere:
    """A run that lacks nothing."""

    models = ("counted",)

    def problems(self) -> Sequence[str]:
        """Nothing is missing on any machine."""
        return ()


def windows(number: int, taken: list[int] | None = None) -> Iterator[Window]:
    """So many windows; the index of each that was asked for is put into `taken`."""
    for index in range(number):
        if taken is not None:
            taken.append(index)
        rows = np.arange(index * SIZE, (index + 1) * SIZE)
        yield Window(index, rows, tuple(record(int(row), "query", "answer") for row in rows))


class ExecutorContract(ComponentContract):
    """Override `component`, and `options` if it has any."""

    @pytest.fixture
    def executor(self, component: Component[Any], config: Any) -> Iterator[Executor]:
        """The executor under test, started where it has something to start."""
        made: Executor = component.create(config)
        if not isinstance(made, Starts):
            yield made
            return
        with made.start(Anywhere(), lambda text: None):
            yield made

    @rule(HOOK)
    def test_every_window_is_answered_once(self, executor: Executor) -> None:
        """There is one `WindowScores` for each window, in any order."""
        answers = list(executor.score(CountingStage(), windows(12)))
        rows = sorted(tuple(answer.rows.tolist()) for answer in answers)
        expected = [tuple(window.rows.tolist()) for window in windows(12)]
        assert rows == expected, f"rows {rows} were answered"

    @rule(HOOK)
    def test_scores_are_handed_on_whole(self, executor: Executor) -> None:
        """What the stage yields for a window is handed on as it is, numbers, costs and facts."""
        for answer in executor.score(CountingStage(), windows(5)):
            sums = answer.columns["answer"].logprob
            assert (sums == -answer.rows - 1.0).all(), f"{sums} for the rows {answer.rows}"
            window = answer.facts.get("window")
            assert window == answer.rows[0] // SIZE, f"facts {answer.facts} with {answer.rows}"
            assert answer.batch_tokens == 64, f"batch_tokens is {answer.batch_tokens}"

    @rule(HOOK)
    def test_the_model_is_freed_at_the_end(self, executor: Executor) -> None:
        """`with stage.open()` loads the model; leaving it at the end frees the memory."""
        stage = CountingStage()
        list(executor.score(stage, windows(3)))
        _left(stage)

    @rule(HOOK)
    def test_the_model_is_freed_after_a_failure(self, executor: Executor) -> None:
        """A stage that fails is left too."""
        stage = CountingStage(fails=2)
        with suppress(BackendError):
            list(executor.score(stage, windows(5)))
        _left(stage)

    @rule(HOOK)
    def test_a_failure_is_passed_on(self, executor: Executor) -> None:
        """What a stage raises ends the run: it comes out of `score` as it is."""
        try:
            list(executor.score(CountingStage(fails=2), windows(5)))
        except BackendError as error:
            assert "the model failed" in str(error), f"{error}"
        else:
            raise AssertionError("a stage failed, and `score` ended as if nothing had happened")

    @rule(HOOK)
    def test_the_model_is_freed_when_nobody_asks_on(self, executor: Executor) -> None:
        """A run that ends early closes what `score` gave, and the stage is left then."""
        stage = CountingStage()
        answers = iter(executor.score(stage, windows(5)))
        next(answers)
        close = getattr(answers, "close", None)
        assert close is not None, (
            f"a {type(answers).__name__} cannot be closed: make it a generator"
        )
        close()
        _left(stage)

    @rule(HOOK)
    def test_windows_are_read_as_it_goes(self, executor: Executor) -> None:
        """`windows` is read on the way: a list of it would hold the input in memory."""
        taken: list[int] = []
        answers = iter(executor.score(CountingStage(), windows(1000, taken)))
        next(answers)
        assert len(taken) < 1000, "all windows were read before the first was answered"
        list(answers)

    @rule(HOOK)
    def test_divisible_windows_are_answered_once(self, executor: Executor) -> None:
        """Ranges of `windows.divided()`, scored anywhere, come to one `WindowScores` a window."""
        answers = list(executor.score(CountingStage(), Numbered(9)))
        rows = sorted(tuple(answer.rows.tolist()) for answer in answers)
        expected = [tuple(window.rows.tolist()) for window in windows(9)]
        assert rows == expected, f"rows {rows} were answered"
        for answer in answers:
            sums = answer.columns["answer"].logprob
            assert (sums == -answer.rows - 1.0).all(), f"{sums} for the rows {answer.rows}"
            window = answer.facts.get("window")
            assert window == answer.rows[0] // SIZE, f"facts {answer.facts} with {answer.rows}"

    @rule(HOOK)
    def test_progress_is_told_wherever_the_work_is(self, executor: Executor) -> None:
        """A stage calls `progress` in the run's own process; elsewhere the executor has to."""
        done: list[int] = []
        stage = replace(CountingStage(), progress=lambda records, tokens: done.append(records))
        list(executor.score(stage, Numbered(9)))
        assert sum(done) == 9 * SIZE, f"{sum(done)} of {9 * SIZE} records were reported"

    @rule(HOOK)
    def test_a_failure_elsewhere_is_passed_on(self, executor: Executor) -> None:
        """What a stage raises in a worker ends the run: it comes out of `score` as it is."""
        try:
            list(executor.score(CountingStage(fails=6), Numbered(9)))
        except BackendError as error:
            assert "the model failed" in str(error), f"{error}"
        else:
            raise AssertionError("a stage failed, and `score` ended as if nothing had happened")

    @rule(HOOK)
    def test_no_divisible_windows_no_answers(self, executor: Executor) -> None:
        """Without windows there are no answers, from nowhere."""
        answers = list(executor.score(CountingStage(), Numbered(0)))
        assert answers == [], f"{answers!r}"

    @rule(HOOK)
    def test_no_windows_no_answers(self, executor: Executor) -> None:
        """Without windows there are no answers."""
        answers = list(executor.score(CountingStage(), windows(0)))
        assert answers == [], f"{answers!r}"


def _left(stage: CountingStage) -> None:
    assert stage.opened, "the stage was never opened"
    assert stage.opened == stage.left, f"opened {stage.opened} times, left {stage.left} times"
