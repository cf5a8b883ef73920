"""Input that cannot be read twice, copied to a file that can.

    standard input      whatever is piped in
    http://, https://   a server may give other bytes the next time, or none

A copy is compressed, unless its first bytes say that it is already, or is parquet, which is read
here and there. How it was packed its name tells: spool-0.zst, spool-0.gz, spool-0.parquet.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import zstandard

from qaqfilter.addresses import STDIN, file_system, is_http, without_credentials
from qaqfilter.errors import SourceError
from qaqfilter.remote_files import reaching

SPOOL = "spool-"
"""How the names of copies begin."""
_PIECE = 1 << 20
_MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"PAR1": ".parquet"}
_LONGEST = max(map(len, _MAGIC))
_SILENCE = 60.0
"""Seconds without a byte after which a server is given up."""


@runtime_checkable
class Spools(Protocol):
    """A source of which something can be read only once. A run has it copied before it reads."""

    def spool(self, folder: Path) -> None:
        """Copy into `folder`, as files `spool-*`, what is read once; later reads take the copies.

        Raises SourceError, and OSError where the folder cannot be written to.
        """
        ...

    def use_spool(self, folder: Path) -> None:
        """Read the copies that `spool` left in `folder`. Raises SourceError where one is gone."""
        ...


def is_read_once(pattern: str) -> bool:
    """Whether what a pattern names has to be copied before it is read."""
    return pattern == STDIN or is_http(pattern)


def shown_name(pattern: str) -> str:
    """How messages name it."""
    return "standard input" if pattern == STDIN else without_credentials(pattern)


def copy_of(folder: Path, number: int) -> Path | None:
    """Copy `number` in a folder, if it is there."""
    return next(iter(folder.glob(f"{SPOOL}{number}.*")), None)


def copy_in(pattern: str, folder: Path, number: int) -> None:
    """Copy standard input or an address into `folder`.

    Raises SourceError where it cannot be read to its end, and OSError where the copy cannot be
    written.
    """
    copy = _Copy(folder, number)
    try:
        with copy:
            if pattern == STDIN:
                _pour(_standard_input(), copy)
            else:
                _fetch(pattern, copy)
    except OSError as error:
        if copy.refused is not None:
            raise copy.refused from None
        raise SourceError(f"{shown_name(pattern)}: {error.strerror or error}") from None


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise SourceError("standard input is closed; pipe data into it, or name files")
    if sys.stdin.isatty():
        raise SourceError(
            "input.path is -, standard input, which is a terminal here: pipe data into it, as in "
            "`cat data.jsonl | qaqfilter run ...`, or name files"
        )
    return sys.stdin.buffer


def _pour(stream: BinaryIO, copy: _Copy) -> None:
    while data := stream.read(_PIECE):
        copy.write(data)


def _fetch(address: str, copy: _Copy) -> None:
    """One request for the whole file."""
    shown = without_credentials(address)
    if "*" in shown:
        raise SourceError(f"{shown}: a server does not list its files; name each of them")
    with reaching(shown):
        system, path = file_system(address, client_kwargs=_client())
        system.get_file(path, copy)


def _client() -> dict[str, Any]:
    """A file may take hours, but no pause between two pieces of it may be long."""
    try:
        from aiohttp import ClientTimeout
    except ImportError:  # `file_system` says what is missing
        return {}
    from fsspec.config import conf

    timeout = ClientTimeout(total=None, sock_connect=_SILENCE / 2, sock_read=_SILENCE)
    found: dict[str, Any] = {"timeout": timeout, "trust_env": True}
    for scheme in ("http", "https"):
        found |= conf.get(scheme, {}).get("client_kwargs", {})
    return found


class _Copy(io.RawIOBase):
    """The file that a copy goes to, chosen by the first bytes.

    `refused` is what the disk said, since an error in `write` comes back through the file system
    that was to be read.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.refused: OSError | None = None
        self._folder, self._number = folder, number
        self._start = b""
        self._file: Any = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        """Append; what comes first is held until there is enough of it to tell what it is."""
        size = memoryview(data).nbytes
        try:
            if self._file is not None:
                self._file.write(data)
            else:
                self._start += bytes(data)
                if len(self._start) >= _LONGEST:
                    self._begin()
        except OSError as error:
            self.refused = error
            raise
        return size

    def _begin(self) -> None:
        packed = (suffix for magic, suffix in _MAGIC.items() if self._start.startswith(magic))
        suffix = next(packed, None)
        path = self._folder / f"{SPOOL}{self._number}{suffix or '.zst'}"
        file = path.open("wb")
        if suffix is None:
            self._file = zstandard.ZstdCompressor(write_checksum=True).stream_writer(file)
        else:
            self._file = file
        self._file.write(self._start)

    def close(self) -> None:
        """Write what is left; an empty copy is a file, too."""
        if self.closed:
            return
        super().close()
        try:
            if self._file is None:
                self._begin()
            self._file.close()
        except OSError as error:
            self.refused = error
            raise
