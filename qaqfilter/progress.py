"""Progress of a run: bars on a terminal and in a notebook, elsewhere a plain line now and then.

From Python, progress is shown where somebody sees it (`watched`). The command line always says how
far it is, and shows the log (`cli/progress.py`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from qaqfilter.live_bars import bars_on
from qaqfilter.printable import printable
from qaqfilter.reports import Observer
from qaqfilter.throughput import Throughput, words

EVERY_SECONDS = 10.0
NOTEBOOK_SECONDS = 0.2
"""Between two pictures of a bar in a notebook."""


@contextmanager
def watched(observer: Observer | None) -> Iterator[Observer]:
    """The observer that was given; else bars where there is a terminal or a notebook."""
    console = Console(stderr=True)
    if observer is not None:
        yield observer
    elif (shell := _notebook()) is not None:
        yield NotebookBars(shell)
    elif console.is_terminal and not console.is_dumb_terminal:
        with bars_on(console) as progress:
            yield Bars(progress)
    else:
        yield Silent()


class Silent:
    """An observer that says nothing."""

    def started(self, label: str, records: int | None) -> None: ...
    def advanced(self, records: int, tokens: int) -> None: ...
    def finished(self) -> None: ...
    def message(self, text: str) -> None: ...


def _notebook() -> Any | None:
    """IPython's module for output, in a process that a notebook runs; IPython is not imported."""
    if (shell := sys.modules.get("IPython")) is None:
        return None
    running = shell.get_ipython()
    in_kernel = running is not None and "IPKernelApp" in running.config
    return sys.modules.get("IPython.display") if in_kernel else None


class Counting:
    """Counts what every form shows."""

    def __init__(self) -> None:
        self.label = ""
        self.total: int | None = None
        self.throughput = Throughput(time.monotonic)

    def start(self, label: str, records: int | None) -> None:
        self.label, self.total = label, records
        self.throughput = Throughput(time.monotonic)


class NowAndThen(Counting):
    """Counts, and speaks up every so many seconds: `tell` is the subclass's business."""

    every = EVERY_SECONDS

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def start(self, label: str, records: int | None) -> None:
        super().start(label, records)
        self._next = self.throughput.began + self.every

    def advanced(self, records: int, tokens: int) -> None:
        """Count, and speak up when it is time."""
        self.throughput.add(records, tokens)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.every
            self.tell()

    def tell(self) -> None:
        raise NotImplementedError


class Bars(Counting):
    """A rich progress bar for each stretch of work."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task: TaskID | None = None

    def started(self, label: str, records: int | None) -> None:
        """A new bar."""
        self.start(label, records)
        self._task = self._progress.add_task(
            _safe(label), total=records, throughput=self.throughput
        )

    def advanced(self, records: int, tokens: int) -> None:
        """Move the bar."""
        self.throughput.add(records, tokens)
        if self._task is not None:
            self._progress.update(self._task, advance=records)

    def finished(self) -> None:
        """Leave the bar standing, full."""
        self.throughput.stop()
        if self._task is not None:
            done = self.throughput.records
            self._progress.update(self._task, total=done, completed=done)

    def message(self, text: str) -> None:
        """Above the bars."""
        self._progress.console.print(_safe(text), markup=False, highlight=False, emoji=False)


class NotebookBars(NowAndThen):
    """A bar below the cell for each stretch of work. `display` is IPython's module."""

    every = NOTEBOOK_SECONDS

    def __init__(self, display: Any) -> None:
        super().__init__()
        self._display, self._shown = display, None

    def started(self, label: str, records: int | None) -> None:
        """A new bar."""
        self.start(label, records)
        self._shown = self._display.display(self._picture(), raw=True, display_id=True)

    def finished(self) -> None:
        """Leave the bar standing, full."""
        self.throughput.stop()
        self.total = self.throughput.records
        self.tell()

    def message(self, text: str) -> None:
        """As text below the bars."""
        click.echo(_safe(text), err=True)

    def tell(self) -> None:
        """Move the bar."""
        if self._shown is not None:
            self._shown.update(self._picture(), raw=True)

    def _picture(self) -> dict[str, str]:
        of = "" if self.total is None else f"/{self.total}"
        done = self.throughput.records
        share = f", {done / self.total:.0%}" if self.total else ""
        label = _safe(self.label)
        text = f"{label}: {done}{of} records{share}, {words(self.throughput)}"
        value = "" if self.total is None else f' value="{done}" max="{max(1, self.total)}"'
        return {"text/plain": text, "text/html": f"<progress{value}></progress> {escape(text)}"}


class PlainLines(NowAndThen):
    """A line every ten seconds, and one at the end of each stretch."""

    def started(self, label: str, records: int | None) -> None:
        """Wait ten seconds before the first line."""
        self.start(label, records)

    def tell(self) -> None:
        """How far it is."""
        self._say(self._left())

    def finished(self) -> None:
        """Say what the stretch came to."""
        self.throughput.stop()
        self._say(f"done in {self.throughput.seconds:.1f} s")

    def message(self, text: str) -> None:
        """As it is."""
        click.echo(_safe(text), err=True)

    def _say(self, ending: str) -> None:
        total = "" if self.total is None else f"/{self.total}"
        done = f"{self.label}: {self.throughput.records}{total} records"
        parts = [done, words(self.throughput), ending]
        click.echo(_safe(", ".join(part for part in parts if part)), err=True)

    def _left(self) -> str:
        left = self.throughput.left(self.total)
        if left is None:
            return ""
        return f"{left / 60:.1f} min left" if left >= 90 else f"{left:.0f} s left"


def _safe(text: str) -> str:
    return printable(text, keep="\n\t")
