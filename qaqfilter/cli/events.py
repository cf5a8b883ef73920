"""`--log-format json`: one event a line on standard error, instead of bars and sentences.

docs/logs.md lists every event and its fields. What a command prints to standard output stays.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import click

from qaqfilter.progress import NowAndThen
from qaqfilter.reports import RunReport

_AS_JSON: ContextVar[bool] = ContextVar("as_json", default=False)


def _choose(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    # Before the verb and behind it: whoever does not give it leaves it as it was.
    if value is not None:
        _AS_JSON.set(value == "json")


def log_format_option() -> click.Option:
    """The option, the same before a verb and behind it."""
    return click.Option(
        ["--log-format"],
        type=click.Choice(["text", "json"]),
        expose_value=False,
        callback=_choose,
        help="What goes to standard error: progress and messages for people (text), or one JSON "
        "object a line.",
    )


def as_json() -> bool:
    """Whether events are asked for."""
    return _AS_JSON.get()


def forget_format() -> None:
    """Sentences again: a process may run several commands."""
    _AS_JSON.set(False)


def emit(event: str, level: str = "info", /, **fields: Any) -> None:
    """Write one event. Numbers that JSON cannot hold become null; the line is plain ASCII."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event,
        **{name: _finite(value) for name, value in fields.items()},
    }
    click.echo(json.dumps(line, default=str), file=sys.stderr)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tell_finished(report: RunReport) -> None:
    """The account of a run as an event, where events are asked for."""
    if as_json():
        emit(
            "run_finished",
            name=report.name,
            folder=str(report.folder),
            read=report.read,
            kept=report.kept,
            rejected=report.rejected,
            quarantined=report.quarantined,
            seconds=round(report.seconds, 3),
        )


class JsonLines(NowAndThen):
    """An observer that writes events: a stage's beginning and end, between them one every ten
    seconds, and whatever is said.
    """

    def started(self, label: str, records: int | None) -> None:
        """A stage begins; `records` may not be known."""
        self.start(label, records)
        emit("stage_started", stage=label, total=records)

    def tell(self) -> None:
        """How far it is."""
        self._emit("progress", self.throughput.left(self.total))

    def finished(self) -> None:
        """What the stage came to."""
        self.throughput.stop()
        self._emit("stage_finished", None)

    def message(self, text: str) -> None:
        """Something the user should know."""
        emit("message", text=text)

    def _emit(self, event: str, left: float | None) -> None:
        mean, recent = self.throughput.mean(), self.throughput.recent()
        emit(
            event,
            stage=self.label,
            records=self.throughput.records,
            total=self.total,
            tokens=self.throughput.tokens,
            seconds=round(self.throughput.seconds, 3),
            records_per_second=round(mean.records, 3),
            tokens_per_second=round(mean.tokens, 3),
            recent_records_per_second=round(recent.records, 3),
            recent_tokens_per_second=round(recent.tokens, 3),
            seconds_left=None if left is None else round(left, 3),
        )


class LogEvents(logging.Handler):
    """What is logged as events: ours from INFO on, and anybody's warnings."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if record.name.startswith("qaqfilter") or record.levelno >= logging.WARNING:
            level = record.levelname.lower()
            emit("log", level, logger=record.name, text=record.getMessage())
