"""Arrow columns to values that JSON can hold, none of which two different values share.

Text, whole numbers, truth values, null, lists and structs are what they are. The rest, which
JSON lacks, is text: NaN and the infinities by name, bytes in base64, decimals in digits, dates
and times as Arrow prints them (with all their digits, which Python's own types would lose). A
duration, and an instant with a zone, is a count of the column's unit (since 1970).
Within a column, whose type is fixed, none of this can be taken for another value.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any

import orjson


class NotText(str):
    """What stands in place of a value that holds bytes which are no UTF-8."""

    __slots__ = ()


def json_values(column: Any) -> list[Any]:
    """The values of an Arrow array, for `as_json`. One that is no UTF-8 becomes `NotText`."""
    plain = _cast(column)
    try:
        values: list[Any] = plain.to_pylist()
    except UnicodeDecodeError:
        return [_one(plain, index) for index in range(len(plain))]
    return [_spelt(value) for value in values] if _has_odd_floats(plain) else values


def as_json(row: dict[str, Any]) -> bytes:
    """One row of `json_values` as a JSON line."""
    return orjson.dumps(
        row,
        default=_default,
        option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_SUBCLASS,
    )


def _default(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)  # decimals, and NotText


def _cast(column: Any) -> Any:
    """The column with types that Python has no exact value for made text."""
    wanted = _json_type(column.type)
    return column if wanted == column.type else column.cast(wanted)


def _json_type(kind: Any) -> Any:
    """The type without extensions, dictionaries and times, at any depth."""
    import pyarrow as pa

    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        kind = _json_type(kind.storage_type)
    elif types.is_dictionary(kind):
        kind = _json_type(kind.value_type)
    elif types.is_nested(kind):
        kind = _json_nested(kind)
    elif types.is_duration(kind) or (types.is_timestamp(kind) and kind.tz is not None):
        # A count of units: an instant is the same in every zone, and needs no table of zones.
        kind = pa.int64()
    elif types.is_temporal(kind):
        kind = pa.string()
    return kind


def _json_nested(kind: Any) -> Any:
    import pyarrow as pa

    types = pa.types
    if types.is_map(kind):
        kind = pa.map_(_json_type(kind.key_type), _json_type(kind.item_type))
    elif types.is_struct(kind):
        kind = pa.struct([field.with_type(_json_type(field.type)) for field in kind])
    elif types.is_fixed_size_list(kind):
        kind = pa.list_(kind.value_field.with_type(_json_type(kind.value_type)), kind.list_size)
    elif types.is_large_list(kind):
        kind = pa.large_list(kind.value_field.with_type(_json_type(kind.value_type)))
    elif types.is_list(kind):
        kind = pa.list_(kind.value_field.with_type(_json_type(kind.value_type)))
    return kind


def _leaves(column: Any) -> Iterator[Any]:
    import pyarrow as pa

    types = pa.types
    if types.is_map(column.type):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    elif types.is_struct(column.type):
        for child in column.flatten():
            yield from _leaves(child)
    elif types.is_nested(column.type):
        yield from _leaves(column.flatten())
    else:
        yield column


def _has_odd_floats(column: Any) -> bool:
    """Whether there is a NaN or an infinity, which orjson would write as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return any(
        pc.all(pc.is_finite(leaf)).as_py() is False
        for leaf in _leaves(column)
        if pa.types.is_floating(leaf.type)
    )


def _spelt(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt(item) for item in value]
    return value


def _one(column: Any, index: int) -> Any:
    import pyarrow as pa

    try:
        return _spelt(column[index].as_py())
    except UnicodeDecodeError:
        alone = pa.record_batch([column.slice(index, 1)], names=["value"])
        return NotText(base64.b64encode(alone.serialize()).decode())
