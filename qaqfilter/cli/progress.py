"""Progress of a run: live bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from qaqfilter.cli.say import safe, say
from qaqfilter.reports import Observer

EVERY_SECONDS = 10.0


@contextmanager
def make_observer() -> Iterator[Observer]:
    """The observer that suits standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = PlainLines()
        with log_shown_by(lines):
            yield lines
        return
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    bars = Bars(progress)
    with progress, log_shown_by(bars):
        yield bars


@contextmanager
def log_shown_by(observer: Observer) -> Iterator[None]:
    """Let what is logged, and Python's warnings, appear between the lines of progress."""
    handler = _ToObserver(observer)
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


class _Counting:
    """Counts what both forms show."""

    def __init__(self) -> None:
        self.label = ""
        self.total: int | None = None
        self.records = self.tokens = 0
        self.began = 0.0

    def start(self, label: str, records: int | None) -> None:
        self.label, self.total = label, records
        self.records = self.tokens = 0
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-9)

    @property
    def speed(self) -> str:
        if self.tokens:
            return f"{self.tokens / self.seconds:.0f} tokens/s"
        return f"{self.records / self.seconds:.0f} records/s"


class Bars(_Counting):
    """A rich progress bar for each stretch of work."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task: TaskID | None = None

    def started(self, label: str, records: int | None) -> None:
        """A new bar."""
        self.start(label, records)
        self._task = self._progress.add_task(safe(label), total=records, speed="")

    def advanced(self, records: int, tokens: int) -> None:
        """Move the bar."""
        self.records += records
        self.tokens += tokens
        if self._task is not None:
            self._progress.update(self._task, advance=records, speed=self.speed)

    def finished(self) -> None:
        """Leave the bar standing, full."""
        if self._task is not None:
            self._progress.update(self._task, total=self.records, completed=self.records)

    def message(self, text: str) -> None:
        """Above the bars."""
        self._progress.console.print(safe(text), markup=False, highlight=False, emoji=False)


class PlainLines(_Counting):
    """A line at the start, one every ten seconds, and one at the end of each stretch."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def started(self, label: str, records: int | None) -> None:
        """Wait ten seconds before the first line."""
        self.start(label, records)
        self._next = self.began + EVERY_SECONDS

    def advanced(self, records: int, tokens: int) -> None:
        """Count, and speak up when it is time."""
        self.records += records
        self.tokens += tokens
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SECONDS
            self._say(self._left())

    def finished(self) -> None:
        """Say what the stretch came to."""
        self._say(f"done in {self.seconds:.1f} s")

    def message(self, text: str) -> None:
        """As it is."""
        say(text, err=True)

    def _say(self, ending: str) -> None:
        total = "" if self.total is None else f"/{self.total}"
        parts = [f"{self.label}: {self.records}{total} records", self.speed, ending]
        say(", ".join(part for part in parts if part), err=True)

    def _left(self) -> str:
        if self.total is None or not self.records:
            return ""
        left = self.seconds / self.records * (self.total - self.records)
        return f"{left / 60:.1f} min left" if left >= 90 else f"{left:.0f} s left"
