"""The files that sinks write: compressed or not, all records in one or a shard after the other."""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Protocol, cast

import zstandard
from pydantic import BeforeValidator, Field, WithJsonSchema

from qaqfilter.options import Options

Compression = Literal["none", "gzip", "zstd"]

SUFFIX: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
BUFFER = 1 << 18
"""Bytes that are collected before they are compressed or written."""

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kmgt])(i?))?b?", re.IGNORECASE)


def _bytes(value: Any) -> int:
    """500, "500MB" (10**6 each) or "2GiB" (2**30 each)."""
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif found is None:
        raise ValueError(f"a size is a number of bytes, or like 500MB or 2GiB (got {value!r})")
    else:
        unit = 1024 if found[3] else 1000
        size = round(float(found[1]) * unit ** _UNITS[(found[2] or "").lower()])
    if size < 1:
        raise ValueError(f"a size is at least one byte (got {value!r})")
    return size


ByteCount = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?([kKmMgGtT]i?)?[bB]?$"},
            ]
        }
    ),
]
"""A number of bytes, or text such as ``500MB`` (10**6 each) and ``2GiB`` (2**30 each)."""


class ShardOptions(Options):
    """Options of a sink that can spread the kept records over several files."""

    shard_rows: int | None = Field(
        None,
        ge=1,
        description="Most kept records of a file: `kept-00000.*`, `kept-00001.*`, ...; without "
        "this and `shard_bytes` one file holds all.",
    )
    shard_bytes: ByteCount | None = Field(
        None,
        description="Most bytes of such a file before it is compressed: a number, or `500MB`, "
        "`2GiB`. A record is never split: one that is larger has a file to itself.",
    )

    @property
    def asked(self) -> list[str]:
        """Those of the two that the recipe gives."""
        return [key for key in ShardOptions.model_fields if getattr(self, key) is not None]


class RowFile(Protocol):
    """A file that grows row by row.

    Attributes
    ----------
    written: bytes so far, before they are compressed.
    overhead: most bytes that one more row, and then the end of the file, take beside the row's own.
    """

    @property
    def written(self) -> int: ...
    @property
    def overhead(self) -> int: ...
    def add(self, row: bytes) -> None: ...
    def close(self) -> None: ...


def shard_name(name: str, number: int, options: ShardOptions) -> str:
    """``kept``, or ``kept-00000`` and so on where there may be more."""
    return f"{name}-{number:05}" if options.asked else name


class Shards:
    """Files of one name, opened one after the other; `open_` gets the name without its suffix."""

    def __init__(self, name: str, options: ShardOptions, open_: Callable[[str], RowFile]) -> None:
        self._name, self._options, self._open = name, options, open_
        self._number = self._rows = 0
        self._file: RowFile | None = None

    def file(self) -> RowFile:
        """The file at hand, opened if there is none yet."""
        if self._file is None:
            self._file = self._open(shard_name(self._name, self._number, self._options))
            self._number += 1
            self._rows = 0
        return self._file

    def add(self, row: bytes) -> None:
        """Append a row to the file at hand, or to the next where it does not fit."""
        file = self.file()
        rows, most = self._options.shard_rows, self._options.shard_bytes
        full = rows is not None and self._rows >= rows
        if most is not None and self._rows:
            full = full or file.written + len(row) + file.overhead > most
        if full:
            self.close()
            file = self.file()
        self._rows += 1
        file.add(row)

    def close(self) -> None:
        """Finish the file at hand."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class PackedFile:
    """A file for many small writes, compressed or not: the same bytes for the same writes.

    `path` has no suffix of the compression yet. `write` appends bytes and returns how many they
    are before compression.
    """

    def __init__(self, path: Path, compression: Compression) -> None:
        packed = path.with_name(path.name + SUFFIX[compression])
        self._file = packed.open("wb", buffering=BUFFER)
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
            self._layers.append(cast(BinaryIO, io.BufferedWriter(raw, buffer_size=BUFFER)))
        self.write: Callable[[bytes], int] = self._layers[-1].write

    def close(self) -> None:
        """Close the layers from the outside in; the file is on disk before it is closed."""
        try:
            for layer in reversed(self._layers[1:]):
                layer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
