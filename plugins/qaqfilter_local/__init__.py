"""Scoring in this very process, one window after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qaqfilter import Component, Executor, Options, Stage, Window, WindowScores, hookimpl


class LocalOptions(Options):
    """The local executor has no options."""


class LocalExecutor:
    """Opens the model once and scores every window with it."""

    def __init__(self, config: LocalOptions) -> None:
        pass

    def score(self, stage: Stage, windows: Iterable[Window]) -> Iterator[WindowScores]:
        """Yield one WindowScores a window, in order."""
        with stage.open() as score:
            yield from score(windows)


@hookimpl
def qaqfilter_executors() -> Iterator[Component[Executor]]:
    """The executor that is used where the recipe names none."""
    yield Component("local", LocalOptions, LocalExecutor, "in this process, on this machine")
