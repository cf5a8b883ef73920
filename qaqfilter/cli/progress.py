"""Progress of a command on standard error, and the log between its lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console

from qaqfilter.cli.events import JsonLines, LogEvents, as_json
from qaqfilter.live_bars import bars_on
from qaqfilter.progress import Bars, PlainLines
from qaqfilter.reports import Observer


@contextmanager
def make_observer() -> Iterator[Observer]:
    """The observer that suits standard error, or the one that writes events."""
    if as_json():
        with log_shown():
            yield JsonLines()
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = PlainLines()
        with log_shown_by(_ToObserver(lines)):
            yield lines
        return
    progress = bars_on(console)
    bars = Bars(progress)
    with progress, log_shown_by(_ToObserver(bars)):
        yield bars


def log_shown() -> AbstractContextManager[None]:
    """For a command that has no progress to show: the log alone."""
    return log_shown_by(LogEvents() if as_json() else _ToObserver(PlainLines()))


@contextmanager
def log_shown_by(handler: logging.Handler) -> Iterator[None]:
    """Let what is logged, and Python's warnings, appear between the lines of progress."""
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(min(before, logging.INFO))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before)


class _ToObserver(logging.Handler):
    def __init__(self, observer: Observer) -> None:
        super().__init__(logging.INFO)
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """Show ours from INFO on, and anybody's warnings."""
        if record.name.startswith("qaqfilter") or record.levelno >= logging.WARNING:
            self._observer.message(record.getMessage())
