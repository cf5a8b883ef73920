"""Layouts: where the query and the answer stand in a parsed row.

A layout is a name, the fields by which it is known, and a function from row to Content. To add
one, write the function and put it into LAYOUTS; recipes, detection and messages follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple

from pydantic import Field

from qaqfilter.errors import SourceError
from qaqfilter.options import Options
from qaqfilter.printable import printable

Row = Mapping[str, Any]


class Content(NamedTuple):
    """What a record is made of. `system` is None where there is none, `id` never empty."""

    query: str
    answer: str
    system: str | None
    id: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to write a record. `read` raises ValueError for a row that does not keep to it."""

    name: str
    known_by: tuple[str, ...]
    read: Callable[[Row], Content]


class FieldMap(Options):
    """Names of the fields; a dot goes into a nested object: `meta.task`."""

    query: str = Field(min_length=1, description="The field that holds the query.")
    answer: str = Field(min_length=1, description="The field that holds the answer.")
    id: str | None = Field(
        None, description="The field that holds the id; else `id`, else a digest of the content."
    )
    system: str | None = Field(
        None, description="The field that holds the system text; it may be missing or null."
    )


def _query_answer(row: Row) -> Content:
    return _content(row, _text(row, "query"), _text(row, "answer"), _optional(row, "system"))


def _alpaca(row: Row) -> Content:
    """`input`, where it is not empty, is the query's second paragraph."""
    query = _text(row, "instruction")
    if more := _optional(row, "input"):
        query = f"{query}\n{more}"
    return _content(row, query, _text(row, "output"), _optional(row, "system"))


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("query_answer", ("query", "answer"), _query_answer),
        Layout("alpaca", ("instruction", "output"), _alpaca),
    )
}


def by_fields(names: FieldMap) -> Layout:
    """The layout that a recipe spells out."""

    def read(row: Row) -> Content:
        query, answer = _text(row, names.query), _text(row, names.answer)
        system = None if names.system is None else _optional(row, names.system)
        if names.id is None:
            return _content(row, query, answer, system)
        own = _label(_find(row, names.id))
        if own is None:
            raise ValueError(f"field {names.id!r} is missing, or no text or whole number")
        return Content(query, answer, system, own)

    return Layout("fields", (names.query, names.answer), read)


def detect(row: Row) -> str:
    """The name of the one layout that `row` is in. SourceError, with the fix, for none or two."""
    found = [name for name, layout in LAYOUTS.items() if all(key in row for key in layout.known_by)]
    if len(found) == 1:
        return found[0]
    keys = _names(row)
    if found:
        raise SourceError(
            f"the row fits several layouts ({', '.join(found)}); choose with `layout: {found[0]}`. "
            f"Its fields: {keys}"
        )
    wanted = "; ".join(f"{lay.name} ({', '.join(lay.known_by)})" for lay in LAYOUTS.values())
    raise SourceError(
        f"the row fits no layout: {wanted}. Its fields: {keys}. "
        "Name them: `fields: {query: <field>, answer: <field>}`"
    )


def content_id(query: str, answer: str, system: str | None) -> str:
    """blake2b-128, in hex, of the three texts in UTF-8, each after its length in bytes."""
    digest = _NO_SYSTEM.copy() if not system else blake2b(_with_length(system), digest_size=16)
    digest.update(_with_length(query))
    digest.update(_with_length(answer))
    return digest.hexdigest()


def _with_length(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(8, "little") + data


_NO_SYSTEM = blake2b(_with_length(""), digest_size=16)


def _content(row: Row, query: str, answer: str, system: str | None) -> Content:
    own = _label(row.get("id"))
    return Content(query, answer, system, own or content_id(query, answer, system))


def _label(value: object) -> str | None:
    """A row's own id: text that is not empty, or a whole number."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _names(row: Row) -> str:
    """The fields, for a message: safe to print, and the first ones of thousands."""
    shown = [printable(name if len(name) <= 60 else f"{name[:60]}…") for name in islice(row, 20)]
    more = f" and {len(row) - len(shown)} more" if len(row) > len(shown) else ""
    return f"{', '.join(shown)}{more}" if shown else "none"


_MISSING = object()


def _find(row: Row, name: str) -> object:
    """The value at `name`; a field of that very name beats a path of dots."""
    if name in row:
        return row[name]
    if "." not in name:
        return _MISSING
    value: object = row
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if isinstance(value, str):  # the common case, once for each side of each record
        return value
    value = _find(row, name)
    if value is _MISSING:
        raise ValueError(f"field {name!r} is missing; there are: {_names(row)}")
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} is {_kind(value)}, not text")
    return value


def _optional(row: Row, name: str) -> str | None:
    """Text, or None where it is missing, null or empty."""
    value = _find(row, name)
    if value is _MISSING or value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} is {_kind(value)}, not text")
    return value


_KINDS = {"NoneType": "null", "bool": "a truth value", "list": "a list", "dict": "an object"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value).__name__, "a number")
