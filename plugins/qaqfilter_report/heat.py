"""From nats to levels, colours and words, the same for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence

from qaqfilter_report.heatmap import Cell, Side
from qaqfilter_report.wording import number

SOME, MOST = 0.5, 2.0
"""From how many nats on a gain has a sign, and a strong one."""

SHOWN = 400
"""Tokens that are shown of a text, if not all are asked for."""

NAMED = 5
"""Words that are named as those with the largest gains."""

_FULL = 4.0
"""Nats from which on a colour is as strong as it gets."""
_FAINT = 0.05
"""Nats below which there is none."""
# All of them light enough for black letters, on a terminal of any colour.
_UP = ((0xE8, 0xF1, 0xFB), (0x6A, 0xA5, 0xEA))
_DOWN = ((0xFD, 0xEE, 0xE2), (0xF0, 0x95, 0x5C))

_OTHER = {"query": "answer", "answer": "query"}


def level(gain: float | None) -> int:
    """2 and 1: likelier given the other side; -1 and -2: less likely; 0: hardly moved."""
    if gain is None or abs(gain) < SOME:
        return 0
    strength = 2 if abs(gain) >= MOST else 1
    return strength if gain > 0 else -strength


def strength(gain: float | None) -> float | None:
    """How strong a colour is, from 0 to 1; None where a gain has none."""
    if gain is None or abs(gain) < _FAINT:
        return None
    return min(1.0, abs(gain) / _FULL)


def background(gain: float | None) -> str | None:
    """A colour of the terminal, blue for what is likelier, orange for less; None for neither."""
    share = strength(gain)
    if gain is None or share is None:
        return None
    faint, full = _UP if gain > 0 else _DOWN
    mixed = (round(a + (b - a) * share) for a, b in zip(faint, full, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def most_moved(cells: Sequence[Cell], *, up: bool) -> list[Cell]:
    """Those that gain most, or lose most, by `SOME` nats or more."""
    sign = 1.0 if up else -1.0
    moved = [cell for cell in cells if sign * (cell.gain or 0.0) >= SOME]
    return sorted(moved, key=lambda cell: -sign * (cell.gain or 0.0))[:NAMED]


def sums(name: str, side: Side) -> str:
    """What a side comes to."""
    if side.missing is not None or side.alone is None or side.given is None:
        return f"none ({side.missing})"
    tokens, gain = counted(side.cells), side.given - side.alone
    return (
        f"{number(side.alone)} alone, {number(side.given)} given the {_OTHER[name]}: "
        f"{signed(gain)} nats, {tokens} tokens"
    )


def left_out(side: Side, cells: Sequence[Cell]) -> str | None:
    """What is not shown of a side, if anything."""
    more = counted(side.cells) - counted(cells)
    said = []
    if more:
        said.append(f"{more} more tokens are not shown; --all shows them")
    if side.cut:
        said.append(f"the last {side.cut} tokens were cut off: the model has not seen them")
    return "; ".join(said) or None


def beginning(side: Side, *, whole: bool) -> Sequence[Cell]:
    """The cells that are shown."""
    return side.cells if whole else side.cells[:SHOWN]


def signed(gain: float) -> str:
    """A gain, with its sign."""
    return f"{gain:+.2f}".replace("-", "−")


def counted(cells: Sequence[Cell]) -> int:
    """Tokens of some cells."""
    return sum(cell.tokens for cell in cells)
