"""Text from data, made safe to print."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: what terminals take for commands
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that show text in another order
    "\u2028\u2029"  # line ends to some programs
    "\ud800-\udfff]"  # half characters (file names that are not UTF-8): printing them fails
)


def printable(text: str, *, keep: str = "") -> str:
    """`text` with what could command a terminal or deceive its reader as ``\\x1b``, ``\\u202e``.

    `keep` are characters to leave alone: a message of several lines keeps its line ends, while
    an id or a file name inside it has none.
    """
    return _UNSAFE.sub(lambda found: _escaped(found[0], keep), text)


def _escaped(character: str, keep: str) -> str:
    if character in keep:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
