"""Files by pattern, and their lines, whatever they are compressed with."""

from __future__ import annotations

import glob
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from qaqfilter import SourceError

_CHUNK = 1 << 16  # bytes read at once; small, for a frame may grow a thousandfold
_LARGEST_WINDOW = 1 << 31  # what `zstd --long=31` writes; the default refuses above 128 MiB


def find(patterns: list[str]) -> list[tuple[str, Path]]:
    """(part, file) for every file that the patterns match, each file once.

    Patterns come in their own order, the files of one sorted. The part is the file's path below
    the folder that all of them share, with `/`: short, unique, and the same on every machine.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        found = [path for path in _matches(pattern) if path.is_file()]
        if not found:
            folder = " (a folder; name the files in it: folder/*.jsonl)"
            raise SourceError(f"no file matches {pattern}{folder * Path(pattern).is_dir()}")
        paths |= dict.fromkeys(Path(os.path.normpath(path.absolute())) for path in found)
    try:
        shared = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # on several drives
        return [(path.as_posix(), path) for path in paths]
    return [(path.relative_to(shared).as_posix(), path) for path in paths]


def _matches(pattern: str) -> list[Path]:
    """A file of that very name beats the pattern, so that brackets in names do no harm."""
    if Path(pattern).exists():
        return [Path(pattern)]
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line with its end) for every line of `path`, which ends at LF only.

    Raises SourceError, with the line reached, where the file cannot be read to its end.
    """
    number = 0
    try:
        with path.open("rb") as file, _decompressed(path, file) as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line
    except EOFError:
        raise SourceError(
            f"{path}: the compressed data end too early, after line {number}; is the file whole?"
        ) from None
    except (zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise SourceError(f"{path}: damaged after line {number}: {error}") from None
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error} (after line {number})") from None


def _decompressed(path: Path, file: BinaryIO) -> BinaryIO:
    match path.suffix:
        case ".gz":
            # GzipFile reads lines in Python; the reader around it does so in C.
            zipped = cast(io.RawIOBase, gzip.GzipFile(fileobj=file))
            return cast(BinaryIO, io.BufferedReader(zipped, buffer_size=_CHUNK))
        case ".zst":
            return cast(BinaryIO, io.BufferedReader(_ZstdFrames(file), buffer_size=_CHUNK))
    return file


class _ZstdFrames(io.RawIOBase):
    """All frames of a .zst file. EOFError where the last is cut short.

    zstandard's own stream reader takes a file cut short for a whole one, and loses its end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._unread = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Decompress until there is something to hand over, or no more."""
        while not self._ready:
            data = self._unread or self._file.read(_CHUNK)
            self._unread = b""
            if not data:
                if self._frame is not None:
                    raise EOFError
                return 0
            self._frame = self._frame or self._decompressor.decompressobj()
            self._ready = memoryview(self._frame.decompress(data))
            if self._frame.eof:
                self._unread, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
