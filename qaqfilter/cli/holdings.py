"""What the score store holds, as tables and as plain data."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.filesize import decimal
from rich.table import Table

from qaqfilter.cli.say import plain_console, safe, say
from qaqfilter.upkeep import Holding

SHORT = 12
"""Digits of a fingerprint that are shown, and enough to name it."""
WORDY = 40
"""Characters of a fact that is too long for a table."""


def print_holdings(held: Sequence[Holding]) -> None:
    """A row for each fingerprint, and what they come to."""
    table = table_of("fingerprint", "model", "parts", "scores", "size", "last used", "damaged")
    table.columns[1].justify = "left"
    table.columns[1].overflow = "fold"
    for one in held:
        used = time.strftime("%Y-%m-%d", time.localtime(one.used))
        numbers = (str(one.parts), str(one.scores), decimal(one.size), used, str(one.damaged))
        table.add_row(one.folder.name[:SHORT], safe(_model(one.facts)), *numbers)
    table.add_section()
    table.add_row(
        "total",
        "",
        str(sum(one.parts for one in held)),
        str(sum(one.scores for one in held)),
        decimal(sum(one.size for one in held)),
        "",
        str(sum(one.damaged for one in held)),
    )
    print_table(table)
    if detailed := sum(one.detailed for one in held):
        say(f"token by token there are {detailed} of the scores")


def _model(facts: Mapping[str, object] | None) -> str:
    """What people can read of a backend's facts; of a digest the beginning."""
    if facts is None:
        return "unknown (facts.json cannot be read)"
    shown = []
    for name, value in facts.items():
        text = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b", r"\1", str(value))
        if value is not None and value is not False and len(text) <= WORDY:
            shown.append(text if name == "backend" else f"{name} {text}")
    return ", ".join(shown)


def table_of(first: str, *numbers: str) -> Table:
    """A table of one name and then numbers."""
    table = Table()
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print it without markup: what is in it may come from anybody."""
    plain_console().print(table)


def as_data(holding: Holding) -> dict[str, Any]:
    """A holding as plain data: `bytes` on disk, `used` in UTC."""
    return {
        "fingerprint": holding.folder.name,
        "facts": holding.facts,
        "parts": holding.parts,
        "scores": holding.scores,
        "by_token": holding.detailed,
        "bytes": holding.size,
        "used": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(holding.used)),
        "damaged": holding.damaged,
        "unreadable": holding.unreadable,
    }
