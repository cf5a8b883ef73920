"""Kept records byte for byte; rejected ones as JSON objects that say why."""

from __future__ import annotations

import gzip
import io
import os
import re
from pathlib import Path
from typing import BinaryIO, Literal, cast

import orjson
import zstandard
from pydantic import Field

from qaqfilter import Options, Record, Rejection

Compression = Literal["none", "gzip", "zstd"]

_SUFFIX: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_BUFFER = 1 << 18
_BOM = b"\xef\xbb\xbf"
_COMPRESSION = "Compress both files; their names then end in .gz or .zst."
# A line break inside JSON stands between values, never in a string: a blank does as well.
_BREAKS = re.compile(rb"[ \t\r]*+\n[ \t\r\n]*+")


class JsonlSinkOptions(Options):
    """`kept.jsonl` and `rejected.jsonl` in the output folder."""

    compression: Compression = Field("none", description=_COMPRESSION)


class JsonSinkOptions(Options):
    """`kept.json` and `rejected.json` in the output folder, each one array."""

    compression: Compression = Field("none", description=_COMPRESSION)


class JsonlSink:
    """Writes `kept.jsonl` at once, and `rejected.jsonl` when the first record is rejected.

    A kept record is its `row`, untouched, so rows must be JSON: every source gives such rows. One
    that holds line breaks (an element of an array) becomes one line, with the white space around
    the breaks made one blank. A line end is added only where a row has none and another follows.
    """

    _suffix = ".jsonl"

    def __init__(self, config: JsonlSinkOptions | JsonSinkOptions, folder: Path) -> None:
        self._folder = folder
        self._compression = config.compression
        self._kept = self._file("kept")
        self._rejected: _Lines | _Array | None = None

    def keep(self, record: Record) -> None:
        """Append the record's row."""
        self._kept.add(record.row)

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
        path = self._folder / f"{name}{self._suffix}{_SUFFIX[self._compression]}"
        return self._written_as(_Output(path, self._compression))

    def _written_as(self, output: _Output) -> _Lines | _Array:
        return _Lines(output)


class JsonSink(JsonlSink):
    """Writes `kept.json` and `rejected.json`, each one array, with the rows as its elements."""

    _suffix = ".json"

    def _written_as(self, output: _Output) -> _Lines | _Array:
        return _Array(output)


class _Lines:
    """Rows as lines."""

    def __init__(self, output: _Output) -> None:
        self._output = output
        self._line_is_open = False

    def add(self, row: bytes) -> None:
        ends = row.endswith(b"\n")
        if self._line_is_open:
            self._output.write(b"\n")
        if row.find(b"\n", 0, len(row) - ends) >= 0:
            row = _BREAKS.sub(b" ", row[: len(row) - ends].rstrip()) + b"\n" * ends
        self._output.write(row)
        self._line_is_open = not ends

    def close(self) -> None:
        self._output.close()


class _Array:
    """Rows as the elements of an array, each beginning a line of its own."""

    def __init__(self, output: _Output) -> None:
        self._output = output
        self._before = b"[\n"

    def add(self, row: bytes) -> None:
        self._output.write(self._before)
        self._output.write(row.removeprefix(_BOM).strip())
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


class _Output:
    """A file for many small writes, compressed or not: the same bytes for the same writes."""

    def __init__(self, path: Path, compression: Compression) -> None:
        self._file = path.open("wb", buffering=_BUFFER)
        self._layers: list[BinaryIO] = [self._file]
        if compression == "gzip":
            # No name and no time in the header: they would differ from run to run.
            zipped = gzip.GzipFile("", "wb", compresslevel=6, fileobj=self._file, mtime=0)
            self._layers.append(cast(BinaryIO, zipped))
        elif compression == "zstd":
            packer = zstandard.ZstdCompressor(write_checksum=True)
            self._layers.append(cast(BinaryIO, packer.stream_writer(self._file, closefd=False)))
        if compression != "none":
            raw = cast(io.RawIOBase, self._layers[-1])
            self._layers.append(cast(BinaryIO, io.BufferedWriter(raw, buffer_size=_BUFFER)))
        self.write = self._layers[-1].write

    def close(self) -> None:
        """Close the layers from the outside in; the file is on disk before it is closed."""
        try:
            for layer in reversed(self._layers[1:]):
                layer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
