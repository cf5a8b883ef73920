"""Which row of a run is meant by an id, by the beginning of one, or by a place in the input.

Places are written as messages write them, ``file:line`` and ``file#n``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from qaqfilter.errors import UsageError
from qaqfilter.printable import printable
from qaqfilter.row_files import Places
from qaqfilter.types import Record

MOST = 5
"""Candidates that are named where the beginning of an id fits several."""

_PLACE = re.compile(r"(.+)([#:])(\d+)", re.DOTALL)


def row_named(
    name: str, places: Iterable[Places], records: Callable[[], Iterator[Record]]
) -> int | None:
    """The row; None where nothing fits. An id comes before a place, and that before a beginning.

    `records` are read for ``file:line`` alone: lines are in the input only.
    Raises UsageError where several ids begin so, and what `records` raises.
    """
    begun: list[str] = []
    first, at = None, 0
    part, ordinal, line = _parsed(name)
    of_part, placed = False, None
    for piece in places:
        ids = piece.id.to_pylist()
        if name in ids:
            return at + int(ids.index(name))
        if part is not None:
            for row, (its, number) in enumerate(
                zip(piece.part.to_pylist(), piece.ordinal.to_pylist(), strict=True), start=at
            ):
                here = part in (its, printable(its))
                of_part |= here
                if here and number == ordinal:
                    placed = row
        for row, id_ in enumerate(ids, start=at):
            if id_.startswith(name):
                first = row if first is None else first
                begun.append(id_)
        at += len(ids)
    if placed is None and of_part and line is not None:
        placed = _row_at(part, line, records())
    if placed is not None or not begun:
        return placed
    if len(begun) > 1:
        raise UsageError(f"{len(begun)} ids begin with {name!r}: {_some(begun)}; write more of it")
    return first


def _parsed(name: str) -> tuple[str | None, int | None, int | None]:
    """Part, ordinal and line of a place; of the last two one is None."""
    if (found := _PLACE.fullmatch(name)) is None:
        return None, None, None
    part, mark, number = found[1], found[2], int(found[3])
    return (part, number, None) if mark == "#" else (part, None, number)


def _row_at(part: str | None, line: int, records: Iterator[Record]) -> int | None:
    for row, record in enumerate(records):
        its = record.origin.part
        if record.origin.line == line and part in (its, printable(its)):
            return row
    return None


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - MOST} more" if len(ids) > MOST else ""
    return ", ".join(repr(id_) for id_ in ids[:MOST]) + more
