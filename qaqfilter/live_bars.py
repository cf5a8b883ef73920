"""Bars on a terminal, and below the one at work its speed, which moves while nobody reports."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from qaqfilter.throughput import Throughput, words

BLOCKS = "▁▂▃▄▅▆▇█"
PARTS = 12
"""Of the last minute, five seconds each."""


def bars_on(console: Console) -> Progress:
    """Bars whose tasks have a field `throughput`."""
    return _Live(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        # Where it is narrow, the bar gives way: it is the only one that may shrink.
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        _Mean(Column(no_wrap=True)),
        TimeElapsedColumn(Column(no_wrap=True)),
        _Left(Column(no_wrap=True)),
        console=console,
    )


class _Live(Progress):
    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and a line for each that is at work; rich asks for them many times a second."""
        yield from super().get_renderables()
        for task in self.tasks:
            throughput: Throughput = task.fields["throughput"]
            if not throughput.over:
                yield _line(throughput, self.console)


class _Mean(ProgressColumn):
    def render(self, task: Task) -> Text:
        """The mean speed, when the work is over; before, it is in the line below."""
        throughput: Throughput = task.fields["throughput"]
        return Text(words(throughput) if throughput.over else "")


class _Left(ProgressColumn):
    def render(self, task: Task) -> Text:
        """The time that is left, where that can be told."""
        throughput: Throughput = task.fields["throughput"]
        if throughput.over or task.total is None:
            return Text("")
        left = throughput.left(int(task.total))
        if left is None:
            return Text("-:--:--", style="progress.remaining")
        minutes, seconds = divmod(int(left), 60)
        clock = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        return Text(clock, style="progress.remaining")


def _line(throughput: Throughput, console: Console) -> Text:
    text = f"  {words(throughput)}"
    drawn = sparkline(throughput, console.encoding)
    if drawn and len(text) + 1 + PARTS <= console.width:
        text = f"{text} {drawn}"
    return Text(text, style="progress.data.speed", no_wrap=True, overflow="ellipsis")


def sparkline(throughput: Throughput, encoding: str) -> str:
    """The last minute as blocks, the highest its fastest part; empty where they cannot be shown."""
    try:
        BLOCKS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ""
    rates = throughput.history(PARTS)
    heights = [rate.tokens if throughput.tokens else rate.records for rate in rates]
    top = max(heights, default=0.0)
    if top <= 0:
        return BLOCKS[0] * len(heights)
    return "".join(BLOCKS[round(height / top * (len(BLOCKS) - 1))] for height in heights)
