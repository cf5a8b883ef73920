"""The account of a run, as tables or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.table import Table

from qaqfilter.cli import events
from qaqfilter.cli.say import plain_console, safe, say_json
from qaqfilter.options import STDOUT
from qaqfilter.reports import ModelReport, RunReport


def show_report(report: RunReport, *, as_json: bool) -> None:
    """The account in the form that was asked for; as an event too, where events are."""
    events.tell_finished(report)
    if as_json:
        say_json(as_data(report))
    else:
        piped = str(report.folder) == STDOUT
        if not (piped and events.as_json()):  # standard error has it already
            print_summary(report)


def print_summary(report: RunReport) -> None:
    """Print what was read, kept and thrown out, what it cost, and where the files are.

    To standard error where the kept records went to standard output.
    """
    piped = str(report.folder) == STDOUT
    console = plain_console(err=piped)
    console.print(_records(report))
    if report.models:
        console.print(_costs(report))
    console.print(
        f"read {report.read} = kept {report.kept} + rejected {report.rejected} "
        f"+ quarantined {report.quarantined}, in {report.seconds:.1f} s"
    )
    for path in report.files.values():
        console.print(safe(f"  {path}"), soft_wrap=True)


def as_data(report: RunReport) -> dict[str, Any]:
    """The account as plain data; the same names as in manifest.json."""
    return {**asdict(report), "models": [_model(model) for model in report.models]}


def _model(model: ModelReport) -> dict[str, Any]:
    return {**asdict(model), "speed": model.speed}


def _records(report: RunReport) -> Table:
    table = Table(title=safe(report.name), title_justify="left")
    table.add_column("step")
    table.add_column("what")
    table.add_column("records", justify="right")
    table.add_row("", "read", str(report.read))
    if report.quarantined:
        table.add_row("", "quarantined", str(report.quarantined))
    for step in report.steps:
        for reason, count in step.rejected.items():
            table.add_row(f"{step.id} ({step.use})", safe(f"rejected: {reason}"), str(count))
        if not step.rejected:
            table.add_row(f"{step.id} ({step.use})", "rejected", "0")
    table.add_section()
    table.add_row("", "kept", str(report.kept), style="bold")
    return table


def _costs(report: RunReport) -> Table:
    table = Table()
    table.add_column("model")
    for model in report.models:
        table.add_column(model.name, justify="right")
    for name, show in _COSTS.items():
        table.add_row(name, *map(show, report.models))
    return table


_COSTS: dict[str, Callable[[ModelReport], str]] = {
    "records": lambda model: f"{model.records}",
    "tokens computed": lambda model: f"{model.cost.computed}",
    "saved by merging": lambda model: f"{model.cost.merged}",
    "known from the score store": lambda model: f"{model.cost.stored}",
    "saved by sharing beginnings": lambda model: f"{model.cost.reused}",
    "padding": lambda model: f"{model.cost.waste:.1%}",
    "seconds": lambda model: f"{model.seconds:.1f}",
    "outside the backend": lambda model: f"{model.outside:.1%}",
    "tokens/s": lambda model: f"{model.speed:.0f}",
}
"""What a model cost: tokens are positions of sequences; padding is a share of the work."""
