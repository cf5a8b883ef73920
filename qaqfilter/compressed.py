"""What .gz and .zst files hold, in small pieces, up to the place where they are damaged.

Both formats can say "a gigabyte of zeros" in a few bytes, so nothing here decompresses more than
a piece at a time, whatever the file asks for.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import zstandard

PIECE = 1 << 16
"""Bytes read at once, and most bytes that one step of gzip gives."""
_LARGEST_WINDOW = 1 << 31  # what `zstd --long=31` writes; the default refuses above 128 MiB
_ANY_MEMBER = 31  # zlib's word for: a gzip header and its checksum, a window of any size


def unpacked(suffix: str, file: BinaryIO) -> Unpacked | None:
    """A stream of what `file` holds; None where the suffix means no compression."""
    pieces = _FORMATS.get(suffix)
    return None if pieces is None else Unpacked(pieces(file))


class Unpacked(io.RawIOBase):
    """The pieces as a stream. Damage ends it like the end of the file, and is said in `damage`.

    An exception instead would make the buffer around this stream forget what it had read.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.damage: str | None = None
        self._pieces = pieces
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Unpack until there is something to hand over, or no more."""
        while not self._ready:
            try:
                self._ready = memoryview(next(self._pieces))
            except StopIteration:
                return 0
            except EOFError:
                self.damage = "the compressed data end too early"
            except (zlib.error, zstandard.ZstdError) as error:
                self.damage = f"the compressed data are damaged ({error})"
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    """All members of a .gz file, with their checksums checked; zeros behind them are padding."""
    data = file.read(PIECE)
    while data:
        member = zlib.decompressobj(wbits=_ANY_MEMBER)
        while not member.eof:
            data = data or file.read(PIECE)
            piece = member.decompress(data, PIECE)
            if not (data or piece or member.eof):
                raise EOFError
            data = member.unconsumed_tail
            yield piece
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := file.read(PIECE)):
            data = more.lstrip(b"\0")


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    """All frames of a .zst file, one block (128 KiB at most) after the other.

    Blocks are told apart here (RFC 8878, 3.1.1) because zstandard offers only to decompress all
    that it is given, 128 KiB for every four bytes of it if need be, or to take a file cut short
    for a whole one.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    while first := file.read(1):
        magic = first + _exactly(file, 3)
        if magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50:  # a frame to be skipped
            size = int.from_bytes(_exactly(file, 4), "little")
            while size:
                size -= len(_exactly(file, min(size, PIECE)))
        else:
            yield from _zstd_frame(magic, file, decompressor.decompressobj())


def _zstd_frame(
    magic: bytes, file: BinaryIO, frame: zstandard.ZstdDecompressionObj
) -> Iterator[bytes]:
    yield frame.decompress(magic)  # raises where it is none, before anything is made of the rest
    head = magic + _exactly(file, 1)
    head += _exactly(file, zstandard.frame_header_size(head) - len(head))
    yield frame.decompress(head[len(magic) :])
    last = 0
    while not last:
        start = _exactly(file, 3)
        bits = int.from_bytes(start, "little")
        last, kind, size = bits & 1, bits >> 1 & 3, bits >> 3
        # One byte stands for a run of `size`.
        yield frame.decompress(start + _exactly(file, 1 if kind == 1 else size))
    if head[4] & 4:
        yield frame.decompress(_exactly(file, 4))  # the checksum


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


_FORMATS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {".gz": _gzip, ".zst": _zstd}
