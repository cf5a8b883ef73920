"""The command line of the doctor."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.console import Console
from rich.table import Table

from qaqfilter.cli.options import json_option
from qaqfilter.cli.say import plain_console, safe, say_json
from qaqfilter.errors import QaqfilterError
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.types import LIKELIHOODS
from qaqfilter_doctor.as_json import as_data, why
from qaqfilter_doctor.installed import backends, plugins, versions
from qaqfilter_doctor.selftest import Outcome, run_selftest

SHORT = ("Q", "A|Q", "A", "Q|A")
"""`LIKELIHOODS` as formulas."""


@click.command(
    short_help="Say what is installed, and test its numbers.",
    epilog="Example: qaqfilter doctor --selftest",
)
@click.option(
    "--selftest",
    is_flag=True,
    help="Score fixed records with every installed backend and compare with stored numbers.",
)
@json_option
def doctor(*, selftest: bool, as_json: bool) -> None:
    """Say what is installed here, and whether its numbers can be trusted."""
    manager = load_plugins()
    if as_json:
        outcomes = list(run_selftest(manager)) if selftest else []
        say_json(as_data(manager, outcomes if selftest else None))
    else:
        console = plain_console()
        console.print(_table(("package", "version"), versions()))
        console.print(_table(("backend", "devices"), backends(manager)))
        console.print(_table(("from", "plugin", "offers"), plugins(manager)))
        outcomes = _tested(manager, console) if selftest else []
    broken = len(manager.broken)
    failed = sum(not outcome.passed for outcome in outcomes)
    if broken or failed:
        raise QaqfilterError(f"{broken} plugins are broken, {failed} self-tests failed")


def _tested(manager: PluginManager, console: Console) -> list[Outcome]:
    """Run the self-test and say what came out."""
    outcomes = list(run_selftest(manager))
    console.print(outcome_table(outcomes))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        told = f"{outcome.backend} on {outcome.device} with {outcome.model}: {why(outcome)}"
        console.print(safe(told))
    if not failed:
        console.print(f"{len(outcomes)} checks passed: these numbers can be trusted.")
    return outcomes


def outcome_table(outcomes: list[Outcome]) -> Table:
    """A row a backend, device and model; a column a likelihood."""
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1),
        title="largest difference from the stored float64 numbers, in nats a token",
    )
    for heading in ("backend", "model", *SHORT, "limit", ""):
        table.add_column(heading, no_wrap=True)
    for outcome in outcomes:
        found = (outcome.differences.get(name, float("nan")) for name in LIKELIHOODS)
        table.add_row(
            f"{outcome.backend} on {outcome.device}",
            outcome.model,
            *(f"{difference:.0e}" for difference in found),
            f"{outcome.tolerance:.0e}",
            "pass" if outcome.passed else "FAIL",
        )
    return table


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(safe, row))
    return table
