"""Fields of a parsed row: how they are found, and what is said of those that are not as wanted.

Everything here raises ValueError, with words for the bad record that the row becomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from qaqfilter.printable import printable

Row = Mapping[str, Any]

MISSING: Final = object()


def find(row: Row, name: str) -> object:
    """The value at `name`, or MISSING; a field of that very name beats a path of dots."""
    if name in row:
        return row[name]
    if "." not in name:
        return MISSING
    value: object = row
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return MISSING
        value = value[key]
    return value


def text(row: Row, name: str) -> str:
    """The text at `name`."""
    value = row.get(name)
    if isinstance(value, str):  # the common case, once for each side of each record
        return value
    value = present(row, name)
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} is {kind(value)}, not text")
    return value


def present(row: Row, name: str) -> object:
    """The value at `name`, whatever it is."""
    value = find(row, name)
    if value is MISSING:
        raise ValueError(f"field {name!r} is missing; there are: {names(row)}")
    return value


def optional(row: Row, name: str) -> str | None:
    """Text, or None where it is missing, null or empty."""
    value = find(row, name)
    if value is MISSING or value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} is {kind(value)}, not text")
    return value


def label(value: object) -> str | None:
    """A row's own id: text that is not empty, or a whole number."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def names(row: Row) -> str:
    """The fields, for a message: safe to print, and the first ones of thousands."""
    shown = [short(name) for name in islice(row, 20)]
    more = f" and {len(row) - len(shown)} more" if len(row) > len(shown) else ""
    return f"{', '.join(shown)}{more}" if shown else "none"


def short(word: str) -> str:
    """A word of the data, for a message: safe to print, and not all of a long one."""
    return printable(word if len(word) <= 60 else f"{word[:60]}…")


_KINDS = {
    "NoneType": "null",
    "bool": "a truth value",
    "str": "text",
    "list": "a list",
    "dict": "an object",
}


def kind(value: object) -> str:
    """What a value is, in JSON's words."""
    return _KINDS.get(type(value).__name__, "a number")
