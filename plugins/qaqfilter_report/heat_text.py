"""A heatmap on a terminal: coloured words, and below them signs that say the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from qaqfilter.printable import printable
from qaqfilter_report.heat import MOST, SOME, background, level
from qaqfilter_report.heatmap import Cell

MARKS = {2: "#", 1: "+", 0: " ", -1: "-", -2: "="}
"""By level; they fill the width of their token."""

LEGEND = (
    f"under a token: + given the other side it is likelier by {SOME:g} nats or more, # by {MOST:g} "
    f"or more; - and = it is less likely by as much. {SOME:g} nats are a factor of 1.6, {MOST:g} "
    "of 7.4. · → ⏎ are blanks, tabs and line ends."
)


class _Piece(NamedTuple):
    """A part of a token that stands on one line."""

    text: str
    gain: float | None


def heat_lines(cells: Sequence[Cell], width: int) -> Iterator[Text]:
    """The text in lines of at most `width` columns, each with its signs below it."""
    for line in _lines(cells, width - 2):
        words, marks = Text().append("│ ", style="dim"), "  "
        for piece in line:
            style = "" if (colour := background(piece.gain)) is None else f"#111111 on {colour}"
            words.append(piece.text, style=style or "default")
            marks += MARKS[level(piece.gain)] * cell_len(piece.text)
        yield words
        if marks.strip():
            yield Text(marks.rstrip())


def shown(text: str) -> str:
    """A token in one line: what cannot be seen, or would command the terminal, is a sign."""
    blank = not text.strip(" \t\n")
    text = text.replace("\t", "→")
    seen = printable(text.replace(" ", "·") if blank else text, keep="\n").replace("\n", "⏎")
    if not seen:
        return "∅"
    return seen if cell_len(seen) else "".join(f"\\u{ord(letter):04x}" for letter in seen)


def _lines(cells: Iterable[Cell], width: int) -> Iterator[list[_Piece]]:
    line: list[_Piece] = []
    used = 0
    for cell in cells:
        # What follows a line end stands on the next line.
        for part in _parts(shown(cell.text)):
            for piece in _fitting(part, width):
                if line and used + cell_len(piece) > width:
                    yield line
                    line, used = [], 0
                line.append(_Piece(piece, cell.gain))
                used += cell_len(piece)
            if part.endswith("⏎") and "\n" in cell.text:
                yield line
                line, used = [], 0
    if line:
        yield line


def _parts(text: str) -> list[str]:
    """Cut behind every line end."""
    pieces = text.split("⏎")
    return [piece + "⏎" for piece in pieces[:-1]] + [piece for piece in pieces[-1:] if piece]


def _fitting(text: str, width: int) -> Iterator[str]:
    """A token that is longer than a line, in pieces."""
    piece = ""
    for letter in text:
        if piece and cell_len(piece + letter) > width:
            yield piece
            piece = ""
        piece += letter
    yield piece
