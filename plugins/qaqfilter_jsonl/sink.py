"""Kept records byte for byte; rejected ones as JSON objects that say why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
from pydantic import Field

from qaqfilter import Numbers, Record, Rejection, RunDirectoryError
from qaqfilter.output_files import Compression, PackedFile, ShardOptions, Shards

_BOM = b"\xef\xbb\xbf"
_COMPRESSION = "Compress all files; their names then end in .gz or .zst."
# A line break inside JSON stands between values, never in a string: a blank does as well.
_BREAKS = re.compile(rb"[ \t\r]*+\n[ \t\r\n]*+")


class JsonlSinkOptions(ShardOptions):
    """`kept.jsonl` and `rejected.jsonl` in the output folder."""

    compression: Compression = Field("none", description=_COMPRESSION)


class JsonSinkOptions(ShardOptions):
    """`kept.json` and `rejected.json` in the output folder, each one array."""

    compression: Compression = Field("none", description=_COMPRESSION)


class JsonlSink:
    """Writes `kept.jsonl` at once, and `rejected.jsonl` when the first record is rejected.

    A kept record is its `row`, untouched, so rows must be JSON: every source gives such rows. One
    that holds line breaks (an element of an array) becomes one line, with the white space around
    the breaks made one blank. A line end is added only where a row has none and another follows.
    Numbers become the row's last field, and the bytes before it stay.
    """

    _suffix = ".jsonl"

    def __init__(self, config: JsonlSinkOptions | JsonSinkOptions, folder: Path) -> None:
        self._folder = folder
        self._compression = config.compression
        self._kept = Shards("kept", config, self._file)
        # Without shards there is nothing to look at before a row.
        self._add = self._kept.add if config.asked else self._kept.file().add
        self._kept.file()
        self._rejected: _Lines | _Array | None = None
        self._field = b""

    def keep(self, record: Record) -> None:
        """Append the record's row."""
        self._add(record.row)

    def annotate(self, field: str, names: Mapping[str, Sequence[str]]) -> None:
        """Remember the field's name."""
        self._field = orjson.dumps(field)

    def keep_with(self, record: Record, numbers: Numbers) -> None:
        """Append the record's row with one more field."""
        before, brace, after = record.row.rpartition(b"}")
        if not brace:
            raise RunDirectoryError(
                f"{record.origin}: this is no object, so numbers have no place in it: leave out "
                "output.annotate"
            )
        comma = b"" if before.removeprefix(_BOM).strip() == b"{" else b", "
        field = comma, self._field, b": ", orjson.dumps(numbers)
        self._add(b"".join((before, *field, brace, after)))

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Append one line: id, step, reason, value, bound, part, ordinal and the record."""
        if self._rejected is None:
            self._rejected = self._file("rejected")
        line = {
            "id": record.id,
            "step": rejection.step,
            "reason": rejection.reason,
            "value": rejection.value,
            "bound": rejection.bound,
            "part": record.origin.part,
            "ordinal": record.origin.ordinal,
            "record": _embedded(record.row),
        }
        self._rejected.add(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Finish both files and have them on disk."""
        try:
            self._kept.close()
        finally:
            if self._rejected is not None:
                self._rejected.close()

    def _file(self, name: str) -> _Lines | _Array:
        path = self._folder / f"{name}{self._suffix}"
        return self._written_as(PackedFile(path, self._compression))

    def _written_as(self, output: PackedFile) -> _Lines | _Array:
        return _Lines(output)


class JsonSink(JsonlSink):
    """Writes `kept.json` and `rejected.json`, each one array, with the rows as its elements."""

    _suffix = ".json"

    def _written_as(self, output: PackedFile) -> _Lines | _Array:
        return _Array(output)


class _Lines:
    """Rows as lines."""

    overhead = 1  # a line end for the row before

    def __init__(self, output: PackedFile) -> None:
        self.written = 0
        self.close = output.close
        self._write = output.write
        self._line_is_open = False

    def add(self, row: bytes) -> None:
        ends = row.endswith(b"\n")
        if self._line_is_open:
            self.written += self._write(b"\n")
        if row.find(b"\n", 0, len(row) - ends) >= 0:
            row = _BREAKS.sub(b" ", row[: len(row) - ends].rstrip()) + b"\n" * ends
        self.written += self._write(row)
        self._line_is_open = not ends


class _Array:
    """Rows as the elements of an array, each beginning a line of its own."""

    overhead = 5  # the comma and line end before, the closing bracket on a line of its own behind

    def __init__(self, output: PackedFile) -> None:
        self.written = 0
        self._output = output
        self._before = b"[\n"

    def add(self, row: bytes) -> None:
        self.written += self._output.write(self._before)
        self.written += self._output.write(row.removeprefix(_BOM).strip())
        self._before = b",\n"

    def close(self) -> None:
        try:
            self._output.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")
        finally:
            self._output.close()


def _embedded(row: bytes) -> orjson.Fragment | str:
    """The row's own JSON, not written anew; a JSON string of the row where it is none."""
    json = row.removeprefix(_BOM).strip()
    try:
        orjson.loads(json)
    except orjson.JSONDecodeError:
        return row.decode(errors="replace")
    return orjson.Fragment(_BREAKS.sub(b" ", json))
