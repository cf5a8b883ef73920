"""Kept rows byte for byte below their header; rejected ones with the reason in more columns."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from pydantic import Field, field_validator

from qaqfilter import Options, Record, Rejection, RunDirectoryError
from qaqfilter_csv.rows import CsvRow, Head

_WHY = ("step", "reason", "value", "bound", "id", "part", "ordinal")
_BUFFER = 1 << 18


class CsvSinkOptions(Options):
    """`kept.csv` and `rejected.csv` in the output folder; .tsv where the delimiter is a tab."""

    delimiter: str = Field(
        ",",
        min_length=1,
        max_length=1,
        description="What stands between two fields of records that came from another format; "
        "rows of csv files keep their own.",
    )

    @field_validator("delimiter")
    @classmethod
    def _usable(cls, value: str) -> str:
        if value in '\r\n\0"' or not value.isascii():
            raise ValueError("name an ASCII character that is no line end and no quote")
        return value


class CsvSink:
    """Writes `kept` at once, and `rejected` when the first record is rejected.

    Both are named and headed by the first record. Records of other formats are written by
    Python's csv: null is an empty field, lists and objects are JSON in a field.
    """

    def __init__(self, config: CsvSinkOptions, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._head: Head | None = None
        self._kept: BinaryIO | None = None
        self._rejected: BinaryIO | None = None
        self._line_is_open = False

    def keep(self, record: Record) -> None:
        """Append the row's own bytes."""
        file, head, fields = self._started(record)
        if self._line_is_open:
            file.write(b"\n")
        raw = fields.raw if isinstance(fields, CsvRow) else _line(_texts(record, head), head)
        file.write(raw)
        self._line_is_open = not raw.endswith(b"\n")

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Append the fields, then step, reason, value, bound, id, part and ordinal."""
        _, head, _ = self._started(record)
        if self._rejected is None:
            self._rejected = self._open("rejected", head)
            self._rejected.write(_line([*head.names, *_free(head.names)], head))
        where = record.id, record.origin.part, record.origin.ordinal
        why = rejection.step, rejection.reason, rejection.value, rejection.bound, *where
        self._rejected.write(_line([*_texts(record, head), *map(_text, why)], head))

    def close(self) -> None:
        """Finish both files."""
        if self._kept is None:
            self._kept = (self._folder / "kept.csv").open("wb")
        try:
            self._kept.close()
        finally:
            if self._rejected is not None:
                self._rejected.close()

    def _started(self, record: Record) -> tuple[BinaryIO, Head, Mapping[str, Any]]:
        fields = record.fields or orjson.loads(record.row)
        if self._kept is None or self._head is None:
            self._head = _head_for(fields, self._config.delimiter)
            self._kept = self._open("kept", self._head)
            self._kept.write(self._head.raw)
            self._line_is_open = not self._head.raw.endswith(b"\n")
        return self._kept, self._head, fields

    def _open(self, name: str, head: Head) -> BinaryIO:
        suffix = "tsv" if head.delimiter == "\t" else "csv"
        return (self._folder / f"{name}.{suffix}").open("wb", buffering=_BUFFER)


def _head_for(fields: Mapping[str, Any], delimiter: str) -> Head:
    if isinstance(fields, CsvRow):
        return fields.head
    head = Head(tuple(fields), b"", delimiter, '"')
    return Head(head.names, _line(head.names, head), delimiter, '"')


def _texts(record: Record, head: Head) -> list[str]:
    """The fields in the header's order. Raises RunDirectoryError where one has no column."""
    fields = record.fields or orjson.loads(record.row)
    for name in fields:
        if name not in head.names:
            raise RunDirectoryError(
                f"{record.origin}: field {name!r} was not in the first record, and a csv file has "
                "one header: write `output: {use: jsonl}`"
            )
    return [_text(fields.get(name)) for name in head.names]


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float):
        return repr(value)  # nan and inf, too
    plain = orjson.dumps(value, default=_no_json).decode()
    return orjson.loads(plain) if plain.startswith('"') else plain


def _no_json(value: object) -> str:
    """Bytes in base64, as in the JSON of a row; decimals and the like as Python shows them."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _free(names: Iterable[str]) -> list[str]:
    """Names for the columns that say why: `qaq_step`, or `qaq_2_step` where one is taken."""
    taken, number, prefix = set(names), 1, "qaq"
    while any(f"{prefix}_{name}" in taken for name in _WHY):
        number += 1
        prefix = f"qaq_{number}"
    return [f"{prefix}_{name}" for name in _WHY]


def _line(values: Iterable[str], head: Head) -> bytes:
    text = io.StringIO()
    # Told of both ends, the writer puts quotes around a field that holds either.
    writer = csv.writer(
        text, delimiter=head.delimiter, quotechar=head.quotechar, lineterminator="\r\n"
    )
    writer.writerow(values)
    return text.getvalue().removesuffix("\r\n").encode() + b"\n"
