"""The elements of a file that is one JSON array, each with the very bytes that it has there.

A scanner of our own: parsers that stream hand over values, and a kept record has to leave as it
came in. It knows strings and brackets, no more; whether an element is JSON is for the parser that
gets it to say.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import BinaryIO

from qaqfilter import SourceError
from qaqfilter.compressed import PIECE
from qaqfilter.input_files import InputFile
from qaqfilter.printable import printable
from qaqfilter_jsonl.files import Line, Trouble, beginning, opened

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[^ \t\r\n,\]]*+")
_MARK = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


def elements(source: InputFile, most: int) -> Iterator[Line]:
    """Every element of the array in `source`, with the line in which it begins.

    Of one over `most` bytes only the beginning comes, with `trouble`; so does whatever else is
    wrong with the array itself. At most about `most` bytes are held at once. Raises SourceError
    where the file holds no array, or cannot be read.
    """
    text: _Text | None = None
    try:
        with opened(source) as (stream, packed):
            text = _Text(stream)
            torn = yield from _array(source, text, most)
            damage = packed.damage if packed is not None else None
            if torn is not None or damage:
                line, row = torn or (text.line, b"")
                why = damage or "the file ends before its array does"
                lost = f"{why}, in line {text.line}: what stood behind it is missing; get it anew"
                yield line, row, Trouble(lost, lost=True)
    except OSError as error:
        line = text.line if text else 0
        raise SourceError(f"{source}: {error.strerror or error} (after line {line})") from None


class _Text:
    """A file's text from where the reader stands; what lies behind is forgotten, but its lines."""

    def __init__(self, stream: BinaryIO) -> None:
        self.data = bytearray()
        self.line = 1
        self._stream = stream

    def more(self) -> bool:
        """Read on; False where nothing is left."""
        piece = self._stream.read(PIECE)
        self.data += piece
        return bool(piece)

    def take(self, size: int) -> bytes:
        """The next bytes, which the reader then has behind it."""
        taken = bytes(self.data[:size])
        self.line += taken.count(b"\n")
        del self.data[:size]
        return taken

    def mark(self) -> bytes:
        """The next byte that is no white space, not taken; b"" at the end."""
        while True:
            space = _SPACE.match(self.data)
            self.take(space.end() if space else 0)
            if self.data:
                return bytes(self.data[:1])
            if not self.more():
                return b""


def _array(
    source: InputFile, text: _Text, most: int
) -> Generator[Line, None, tuple[int, bytes] | None]:
    """The elements. Returns where the file breaks off, if it does: line and torn element."""
    while len(text.data) < len(_BOM) and text.more():
        pass
    if text.data.startswith(_BOM):
        text.take(len(_BOM))
    if text.mark() != b"[":
        raise SourceError(f"{printable(str(source))} holds no JSON array: {_instead(text.mark())}")
    text.take(1)
    before = "["  # what the next mark follows: the bracket, a comma or an element
    while (mark := text.mark()) not in (b"", b"]"):
        line = text.line
        if mark == b",":
            if before != "element":
                yield line, mark, Trouble("a comma without an element before it", lost=False)
            else:
                before = ","
            text.take(1)
            continue
        if before == "element":
            missing = "there is no comma between the element that begins here and the one before it"
            yield line, b"", Trouble(missing, lost=False)
        row, trouble, ended = _element(text, most)
        if not ended:
            return line, row
        yield line, row, trouble
        before = "element"
    if not mark:
        return text.line, b""
    if before == ",":
        yield text.line, b",", Trouble("a comma without an element behind it", lost=False)
    text.take(1)
    if text.mark():
        behind = "the array ends before this, and the file does not: what follows is not read"
        yield text.line, beginning(text.data), Trouble(behind, lost=True)
    return None


def _instead(mark: bytes) -> str:
    if not mark:
        return "it is empty"
    hint = "; JSON lines are read with `use: jsonl`" if mark == b"{" else ""
    letter = chr(mark[0])
    shown = f"`{letter}`" if letter.isascii() and letter.isprintable() else f"byte 0x{mark.hex()}"
    return f"it begins with {shown}{hint}"


def _element(text: _Text, most: int) -> tuple[bytes, Trouble | None, bool]:
    """The element at hand, as far as it is held; what is wrong with it; whether it ends."""
    scan = _Scan(text.data)
    shown: bytes | None = None
    gone = 0
    while not (ended := scan.to_the_end()):
        if scan.place > most:  # only its size still matters
            shown = beginning(text.data) if shown is None else shown
            gone += len(text.take(scan.place))
            scan.place = 0
        if not text.more():
            break
    end = scan.place if ended else len(text.data)
    size = gone + end
    if size > most and shown is None:
        shown = beginning(text.data[:end])
    taken = text.take(end)
    if shown is None:
        return taken, None, ended
    trouble = (
        f"an element of {size} bytes, more than input.max_record_bytes = {most} allows: raise it "
        f"if this is a record (here are its first {len(shown)} bytes)"
    )
    return shown, Trouble(trouble, lost=False), ended


class _Scan:
    """How far the element is known that begins `data`; goes on where it was when there is more."""

    def __init__(self, data: bytearray) -> None:
        self.place = 0
        self._data = data
        self._depth = 0
        self._in_string = False
        self._is_scalar = data[0] not in b'{["'

    def to_the_end(self) -> bool:
        """Go on to the element's end, where `place` then is; False where it is not there yet."""
        if self._is_scalar:
            found = _SCALAR.match(self._data, self.place)
            self.place = found.end() if found else self.place
            return self.place < len(self._data)
        while True:
            if self._in_string:
                # Never over a backslash whose other half has not been read.
                inside = _IN_STRING.match(self._data, self.place)
                self.place = inside.end() if inside else self.place
                if self._data[self.place : self.place + 1] != b'"':
                    return False
                self._in_string = False
            else:
                mark = _MARK.search(self._data, self.place)
                if mark is None:
                    self.place = len(self._data)
                    return False
                self.place = mark.start()
                byte = mark[0]
                self._in_string = byte == b'"'
                self._depth += (byte in b"{[") - (byte in b"}]")
            self.place += 1
            if self._depth == 0 and not self._in_string:
                return True
