"""Kept rows byte for byte below their header; rejected ones with the reason in more columns."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, field_validator

from qaqfilter import Numbers, Record, Rejection, RunDirectoryError
from qaqfilter.output_files import Compression, PackedFile, ShardOptions, Shards
from qaqfilter_csv.rows import CsvRow, Head

_WHY = ("step", "reason", "value", "bound", "id", "part", "ordinal")


class CsvSinkOptions(ShardOptions):
    """`kept.csv` and `rejected.csv` in the output folder; .tsv where the delimiter is a tab."""

    delimiter: str = Field(
        ",",
        min_length=1,
        max_length=1,
        description="What stands between two fields of records that came from another format; "
        "rows of csv files keep their own.",
    )
    compression: Compression = Field(
        "none", description="Compress all files; their names then end in .gz or .zst."
    )

    @field_validator("delimiter")
    @classmethod
    def _usable(cls, value: str) -> str:
        if value in '\r\n\0"' or not value.isascii():
            raise ValueError("name an ASCII character that is no line end and no quote")
        return value


class CsvSink:
    """Writes `kept`, and `rejected` when the first record is rejected.

    Both are named and headed by the first record. Records of other formats are written by
    Python's csv: null is an empty field, lists and objects are JSON in a field. Numbers become the
    row's last field, as JSON, and the bytes before it stay.
    """

    def __init__(self, config: CsvSinkOptions, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._head: Head | None = None
        self._kept = Shards("kept", config, self._file)
        self._rejected: _Table | None = None
        self._field: str | None = None

    def keep(self, record: Record) -> None:
        """Append the row's own bytes."""
        self._kept.add(self._row(record))

    def annotate(self, field: str, names: Mapping[str, Sequence[str]]) -> None:
        """Remember the column's name."""
        self._field = field

    def keep_with(self, record: Record, numbers: Numbers) -> None:
        """Append the row's own bytes with one more field."""
        text = orjson.dumps(numbers).decode()
        self._kept.add(_with_field(self._row(record), text, self._headed(record)))

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Append the fields, then step, reason, value, bound, id, part and ordinal."""
        head = self._headed(record)
        if self._rejected is None:
            names = _line([*head.names, *_free(head.names)], head)
            self._rejected = _Table(self._packed("rejected"), names)
        where = record.id, record.origin.part, record.origin.ordinal
        why = rejection.step, rejection.reason, rejection.value, rejection.bound, *where
        self._rejected.add(_line([*_texts(record, head), *map(_text, why)], head))

    def close(self) -> None:
        """Finish all files."""
        try:
            self._kept.file()
            self._kept.close()
        finally:
            if self._rejected is not None:
                self._rejected.close()

    def _headed(self, record: Record) -> Head:
        """The head of both files, which the first record gives."""
        if self._head is None:
            fields = record.fields or orjson.loads(record.row)
            self._head = _head_for(fields, self._config.delimiter)
        return self._head

    def _row(self, record: Record) -> bytes:
        head, fields = self._headed(record), record.fields
        return fields.raw if isinstance(fields, CsvRow) else _line(_texts(record, head), head)

    def _file(self, name: str) -> _Table:
        head = self._head
        names = b"" if head is None else head.raw
        if head is not None and self._field is not None:
            names = _with_field(names, self._field, head)
        return _Table(self._packed(name), names)

    def _packed(self, name: str) -> PackedFile:
        tabs = self._head is not None and self._head.delimiter == "\t"
        path = self._folder / f"{name}.{'tsv' if tabs else 'csv'}"
        return PackedFile(path, self._config.compression)


class _Table:
    """Rows below a header."""

    overhead = 1  # a line end for the row before

    def __init__(self, output: PackedFile, header: bytes) -> None:
        self.written = 0
        self.close = output.close
        self._write = output.write
        self._line_is_open = False
        if header:
            self.add(header)

    def add(self, row: bytes) -> None:
        self.written += self._write(b"\n" + row if self._line_is_open else row)
        self._line_is_open = not row.endswith(b"\n")


def _with_field(row: bytes, text: str, head: Head) -> bytes:
    """A row with one more field, and its own line end."""
    bare = row.rstrip(b"\r\n")
    return bare + head.delimiter.encode() + _line([text], head).rstrip(b"\n") + row[len(bare) :]


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
