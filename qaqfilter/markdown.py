"""Markdown in which data stays data: it can neither format, nor link, nor command a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qaqfilter.printable import printable


def code(text: str) -> str:
    """Text from data as a code span of one line, which may stand in a table."""
    # In a span nothing means anything but its own fence, and in a table the bar between cells.
    shown = printable(text).replace("|", "\\|") or " "
    fence = "`" * (_longest_run(shown) + 1)
    gap = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{gap}{shown}{gap}{fence}"


def block(text: str, language: str) -> str:
    """Text as a fenced block, behind a fence that the text does not hold."""
    fence = "`" * max(3, _longest_run(text) + 1)
    shown = printable(text, keep="\n\t").rstrip("\n")
    return f"{fence}{language}\n{shown}\n{fence}\n"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its cells are Markdown already."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
