"""What files hold, and their lines, whatever they are compressed with."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, NamedTuple, cast

from qaqfilter import SourceError
from qaqfilter.compressed import PIECE, Unpacked, unpacked
from qaqfilter.input_files import InputFile

_SHOWN = 1000  # bytes of a line over the limit that are kept


class Trouble(NamedTuple):
    """Why a line is not there as a whole. `lost`: nor can the rest of the file be read."""

    text: str
    lost: bool


Line = tuple[int, bytes, Trouble | None]
"""A line or an element of an array: number of the line from 1, bytes with their end, what is wrong
with them. A plain tuple, for speed."""


@contextmanager
def opened(source: InputFile) -> Iterator[tuple[BinaryIO, Unpacked | None]]:
    """What a file holds, unpacked; and the unpacker, which knows of damage, if there is one."""
    with source.open() as file:
        packed = unpacked(source.packing, file)
        yield (file if packed is None else cast(BinaryIO, io.BufferedReader(packed, PIECE))), packed


def beginning(data: bytes | bytearray) -> bytes:
    """The first bytes of something over the limit, cut between two characters."""
    end = min(_SHOWN, len(data))
    while 0 < end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return bytes(data[:end])


def lines(source: InputFile, most: int) -> Iterator[Line]:
    """Every line of `source`; only LF ends one. At most about `most` bytes are held at once.

    Of a line over `most` bytes (its end included) only the beginning comes, with `trouble`. So
    does what is left of the line in which compressed data break off, if only b"". Raises
    SourceError, with the line reached, where the file cannot be read.
    """
    number = 0
    try:
        with opened(source) as (stream, packed):
            torn, number = b"", 0
            for number, line in enumerate(iter(partial(stream.readline, most + 1), b""), start=1):
                if len(line) > most:
                    yield _over_long(line, number, stream, most)
                elif packed is not None and packed.damage and not line.endswith(b"\n"):
                    torn = line
                else:
                    yield number, line, None
            if packed is not None and packed.damage:
                whole = number - bool(torn)
                text = (
                    f"{packed.damage}, after line {whole}: all that stood behind it is missing; "
                    "get the file anew, or pack what can be read of it"
                )
                yield whole + 1, torn, Trouble(text, lost=True)
    except OSError as error:
        raise SourceError(f"{source}: {error.strerror or error} (after line {number})") from None


def _over_long(line: bytes, number: int, stream: BinaryIO, most: int) -> Line:
    """The beginning of a line; the rest is read and forgotten."""
    size, shown, ended = len(line), beginning(line), line.endswith(b"\n")
    del line
    while not ended and (more := stream.readline(PIECE)):
        size, ended = size + len(more), more.endswith(b"\n")
    text = (
        f"a line of {size} bytes, more than input.max_record_bytes = {most} allows: raise it if "
        f"this is a record (here are its first {len(shown)} bytes)"
    )
    return number, shown, Trouble(text, lost=False)
