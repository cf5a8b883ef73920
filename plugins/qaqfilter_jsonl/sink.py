"""Kept records byte for byte; rejected ones as JSON objects that say why."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import BinaryIO, Literal, cast

import orjson
import zstandard
from pydantic import Field

from qaqfilter import Options, Record, Rejection

Compression = Literal["none", "gzip", "zstd"]

_SUFFIX: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_BUFFER = 1 << 18


class JsonlSinkOptions(Options):
    """`kept.jsonl` and `rejected.jsonl` in the output folder."""

    compression: Compression = Field(
        "none", description="Compress both files; their names then end in .gz or .zst."
    )


class JsonlSink:
    """Writes `kept.jsonl` at once, and `rejected.jsonl` when the first record is rejected.

    A kept record is its `row`, untouched, so rows must be JSON lines for the file to be JSON
    lines: every source gives such rows. A line end is added only where a row has none and
    another follows.
    """

    def __init__(self, config: JsonlSinkOptions, folder: Path) -> None:
        self._folder = folder
        self._compression = config.compression
        self._kept = _Output(folder / f"kept.jsonl{_SUFFIX[config.compression]}", self._compression)
        self._rejected: _Output | None = None
        self._line_is_open = False

    def keep(self, record: Record) -> None:
        """Append the record's row."""
        if self._line_is_open:
            self._kept.write(b"\n")
        self._kept.write(record.row)
        self._line_is_open = not record.row.endswith(b"\n")

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Append one line: id, step, reason, value, bound, part, ordinal and the record."""
        if self._rejected is None:
            name = f"rejected.jsonl{_SUFFIX[self._compression]}"
            self._rejected = _Output(self._folder / name, self._compression)
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
        self._rejected.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Finish both files and have them on disk."""
        try:
            self._kept.close()
        finally:
            if self._rejected is not None:
                self._rejected.close()


def _embedded(row: bytes) -> orjson.Fragment | str:
    """The row's own JSON, not written anew; a JSON string of the row where it is none."""
    json = row.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        orjson.loads(json)
    except orjson.JSONDecodeError:
        return row.decode(errors="replace")
    # A line end inside JSON stands between values, never in a string: a blank does as well.
    return orjson.Fragment(json.replace(b"\r", b" ").replace(b"\n", b" "))


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
