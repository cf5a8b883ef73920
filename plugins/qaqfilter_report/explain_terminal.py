"""An explanation on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qaqfilter.printable import printable
from qaqfilter_report.account_words import facts, fate, headline, neighbours
from qaqfilter_report.explaining import StepAccount
from qaqfilter_report.explanation import Explanation
from qaqfilter_report.heat import beginning, left_out, most_moved, signed, sums
from qaqfilter_report.heat_text import LEGEND, heat_lines, shown
from qaqfilter_report.heatmap import Heatmap, Side


def show_account(console: Console, known: Explanation) -> None:
    """What each step made of the record."""
    _say(console, f"{known.id}: {fate(known.steps)}", "bold")
    _say(console, f"record {known.row + 1} of the run, {known.part}#{known.ordinal}")
    for account in known.steps:
        console.print()
        _say(console, f"{account.id} ({account.use}): {headline(account)}", "bold")
        if account.reached:
            console.print(_facts(account))
        rows = neighbours(account, known.steps, known.labels, known.id)
        if rows:
            table = Table("", show_edge=False, box=None, padding=(0, 2, 0, 0))
            table.add_column("next to it", overflow="fold")
            table.add_column(printable(account.column), justify="right", overflow="fold")
            table.add_column("outcome", overflow="fold")
            for row in rows:
                cells = (printable(row.id), row.value, printable(row.outcome))
                table.add_row(">" * row.own, *cells, style="bold" if row.own else None)
            console.print(table)


def show_heatmap(console: Console, one: Heatmap, *, whole: bool) -> None:
    """Query and answer of each exchange, with the signs of their tokens."""
    for number, exchange in enumerate(one.exchanges, start=1):
        for name, side in exchange.sides():
            several = f", exchange {number} of {len(one.exchanges)}"
            title = f"{name}, by {one.view}{several * (len(one.exchanges) > 1)}"
            console.print()
            _say(console, f"{title}: {sums(name, side)}", "bold")
            if side.missing is None:
                _show_side(console, side, whole=whole)


def show_legend(console: Console) -> None:
    """What the signs mean."""
    console.print()
    _say(console, LEGEND)


def _show_side(console: Console, side: Side, *, whole: bool) -> None:
    cells = beginning(side, whole=whole)
    for line in heat_lines(cells, console.width):
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    for what, up in (("most explained", True), ("least", False)):
        moved = most_moved(side.cells, up=up)
        if moved:
            words = ", ".join(f"{shown(c.text).strip()} {signed(c.gain or 0.0)}" for c in moved)
            _say(console, f"{what}: {words}")
    if (more := left_out(side, cells)) is not None:
        _say(console, more)


def _facts(account: StepAccount) -> Table:
    table = Table(show_header=False, show_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, value in facts(account):
        table.add_row(f"  {printable(name)}", printable(value))
    return table


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(Text(printable(text), style=style or ""))
