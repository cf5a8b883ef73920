"""A schema for records that came from another format: from the first ones, then binding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from qaqfilter.errors import RunDirectoryError
from qaqfilter.printable import printable
from qaqfilter.types import Record

Fields = Mapping[str, Any]
_EXACT = 2**53  # whole numbers up to here are float64, too
_LEAST, _MOST = -(2**63), 2**63 - 1  # what a column of whole numbers is inferred to hold


def fields_of(record: Record) -> Fields:
    """The record's fields; those of its row where the source parsed none."""
    if record.fields:
        return record.fields
    found = orjson.loads(record.row)
    return found if isinstance(found, dict) else {"row": found}


def infer(records: Sequence[Record]) -> Any:
    """An Arrow schema that holds these records: columns in the order in which they turn up.

    Raises RunDirectoryError, naming a record, where a field has values of several types.
    """
    import pyarrow as pa

    rows = [fields_of(record) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = []
    for name in names:
        try:
            columns.append(pa.field(name, pa.array([row.get(name) for row in rows]).type))
        except (pa.ArrowException, OverflowError, TypeError):
            index = _first_misfit([row.get(name) for row in rows])
            text = f"field {name!r} has another type there than in the records before"
            raise _refused(records[index], text) from None
    return pa.schema(columns)


def convert(records: Sequence[Record], schema: Any) -> Any:
    """The records as a batch of that schema; a missing field is null.

    Raises RunDirectoryError, naming the record, where something would be lost or changed.
    """
    import pyarrow as pa

    rows = [fields_of(record) for record in records]
    kinds = {field.name: field.type for field in schema}
    for record, row in zip(records, rows, strict=True):
        for name, value in row.items():
            problem = _misfit(value, kinds.get(name), name)
            if problem is not None:
                raise _refused(record, problem, later=True)
    columns = [pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()]
    return pa.record_batch(columns, schema=schema)


def _refused(record: Record, text: str, *, later: bool = False) -> RunDirectoryError:
    more = ", or let it look at more records with output.infer_rows" if later else ""
    return RunDirectoryError(
        f"{record.origin}: {printable(text)}, and a column has one type: write "
        f"`output: {{use: jsonl}}`{more}"
    )


def _first_misfit(values: Sequence[Any]) -> int:
    """The shortest beginning that has no type, by halving: types only ever widen."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if _fits_any(values[: middle + 1]):
            low = middle + 1
        else:
            high = middle
    return low


def _fits_any(values: Sequence[Any]) -> bool:
    import pyarrow as pa

    try:
        pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):
        return False
    return True


def _misfit(value: Any, kind: Any, name: str) -> str | None:
    """What is wrong with a value in a column of that type, if anything is.

    Arrow itself would cut 2.5 to 2, and drop keys that a struct lacks, without a word.
    """
    if kind is None:
        return f"field {name!r} was in no record before"
    if value is None:
        return None
    if isinstance(value, dict) and _is("struct", kind):
        inner = {field.name: field.type for field in kind}
        found = (_misfit(item, inner.get(key), f"{name}.{key}") for key, item in value.items())
        return next((problem for problem in found if problem), None)
    if isinstance(value, list) and _is("list", kind):
        found = (_misfit(item, kind.value_type, name) for item in value)
        return next((problem for problem in found if problem), None)
    if _holds(value, kind):
        return None
    return f"field {name!r} is not {kind}, as in the records before"


def _holds(value: Any, kind: Any) -> bool:
    import pyarrow as pa

    if _is("floating", kind) and type(value) is int:
        return abs(value) <= _EXACT
    plain = {float: "floating", bool: "boolean", str: "string"}
    if type(value) is int:
        return _is("integer", kind) and _LEAST <= value <= _MOST
    if type(value) in plain:
        return _is(plain[type(value)], kind)
    # What JSON does not have: a plugin's own source knows what it gives.
    return bool(pa.array([value]).type == kind)


def _is(what: str, kind: Any) -> bool:
    import pyarrow as pa

    return bool(getattr(pa.types, f"is_{what}")(kind))
