"""Rows of a CSV file as Python's csv reads them, each with the bytes that it was read from.

The reader asks for one line after the other until a row is complete; `_Feed` hands them out and
remembers them. So the lines handed out for a row are the row, whatever its quotes mean. After an
error the reader begins afresh with the next line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from qaqfilter import SourceError
from qaqfilter.compressed import PIECE, Unpacked, unpacked
from qaqfilter.input_files import InputFile

_SHOWN = 1000  # bytes of a row over the limit that are kept
_BOM = b"\xef\xbb\xbf"


class RawRow(NamedTuple):
    """`values` of a row, or what is wrong with it. `lost`: so is what stood behind it."""

    line: int
    raw: bytes
    values: list[str]
    error: str | None = None
    lost: bool = False


class _TooLong(Exception):  # noqa: N818 - reads as the sentence it is
    """Raised through the csv reader, by the feed."""


class _Feed(Iterator[str]):
    """Lines as text, their bytes remembered in `taken`; only LF ends one."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self.taken: list[bytes] = []
        self.lines = 0
        self._stream, self._most, self._size = stream, most, 0

    def __next__(self) -> str:
        line = self._stream.readline(self._most + 1 - self._size)
        if not line:
            raise StopIteration
        if self.lines == 0 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        self.lines += 1
        self.taken.append(line)
        self._size += len(line)
        if self._size > self._most:
            raise _TooLong
        # Bytes that are no UTF-8 must not hide a quote behind them; the row is refused later.
        return line.decode(errors="surrogateescape")

    def take(self) -> bytes:
        """The bytes handed out since the last call."""
        raw = b"".join(self.taken)
        self.taken, self._size = [], 0
        return raw

    def skip_line(self) -> None:
        """Go to the end of the line that was cut."""
        ended = self.taken[-1].endswith(b"\n")
        while not ended and (more := self._stream.readline(PIECE)):
            ended = more.endswith(b"\n")


def rows(source: InputFile, delimiter: str, quotechar: str, most: int) -> Iterator[RawRow]:
    """Every row of the file, the header first; blank lines are none.

    At most about `most` bytes are held. Raises SourceError where the file cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), most + 1))
    number = 0
    try:
        with source.open() as file:
            packed = unpacked(source.packing, file)
            stream: BinaryIO = file
            if packed is not None:
                stream = cast(BinaryIO, io.BufferedReader(packed, PIECE))
            for row in _rows(_Feed(stream, most), packed, delimiter, quotechar, most):
                number = row.line
                yield row
    except OSError as error:
        raise SourceError(f"{source}: {error.strerror or error} (after line {number})") from None


def _rows(
    feed: _Feed, packed: Unpacked | None, delimiter: str, quotechar: str, most: int
) -> Iterator[RawRow]:
    reader = csv.reader(feed, delimiter=delimiter, quotechar=quotechar, strict=True)
    while True:
        first = feed.lines + 1
        values: list[str] = []
        error = None
        try:
            values = next(reader)
        except StopIteration:
            break
        except _TooLong:
            feed.skip_line()
            text = (
                f"a row of more bytes than input.max_record_bytes = {most} allows, or a quote "
                f"that is never closed (here are its first {_SHOWN} bytes); the next row begins "
                f"in line {feed.lines + 1}"
            )
            yield RawRow(first, _beginning(feed.take()), [], text, lost=True)
            # An exception of the feed's leaves the reader inside the quote.
            reader = csv.reader(feed, delimiter=delimiter, quotechar=quotechar, strict=True)
            continue
        except csv.Error as wrong:
            error = _why(str(wrong), quotechar)
        raw = feed.take()
        if packed is not None and packed.damage and not raw.endswith(b"\n"):
            break_off = f"{packed.damage} in line {feed.lines}: all that stood behind is missing"
            yield RawRow(first, raw, [], f"{break_off}; get the file anew", lost=True)
            return
        if values or error:
            yield RawRow(
                first, raw, values, error or _no_text(raw), lost="never closed" in (error or "")
            )
    if packed is not None and packed.damage:
        text = f"{packed.damage} after line {feed.lines}: all that stood behind is missing"
        yield RawRow(feed.lines + 1, b"", [], f"{text}; get the file anew", lost=True)


def _no_text(raw: bytes) -> str | None:
    if b"\0" in raw:
        return f"a NUL, at byte {raw.index(0) + 1} of the row; is the file whole, and text?"
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        byte = f"byte 0x{raw[wrong.start]:02x} at byte {wrong.start + 1} of the row"
        return f"not UTF-8: {byte}; write the file anew in UTF-8"
    return None


def _why(text: str, quotechar: str) -> str:
    if "unexpected end of data" in text:
        return f"a quote ({quotechar}) that is never closed: all up to the file's end is in it"
    if "expected after" in text:
        twice = quotechar * 2
        return f"text behind a closing quote ({text}); a quote within quotes is written {twice}"
    if "new-line character" in text:
        return "a carriage return outside of quotes; lines end in LF or CRLF"
    return f"not CSV: {text}"


def _beginning(raw: bytes) -> bytes:
    """The first bytes, cut between two characters."""
    end = min(_SHOWN, len(raw))
    while 0 < end < len(raw) and raw[end] & 0xC0 == 0x80:
        end -= 1
    return raw[:end]
