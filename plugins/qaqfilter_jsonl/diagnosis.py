"""Why a line or an element is no JSON, and what mends it: the parser says only where it stopped."""

from __future__ import annotations

import re

import orjson

_NO_NUMBER = re.compile(r"-?(?:NaN|Infinity)\b")


def why_not_json(line: bytes, error: orjson.JSONDecodeError, name: str) -> str:
    """One sentence: what is wrong, where (bytes or characters from 1), and the fix.

    `name` is what the bytes are called: a line, or an element of an array.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as wrong:
        byte = f"byte 0x{line[wrong.start]:02x} at byte {wrong.start + 1} of the {name}"
        return f"not UTF-8: {byte}; write the file anew in UTF-8"
    if text.startswith("\ufeff"):
        return "not JSON: a byte order mark that is not at the file's beginning; remove it"
    return f"not JSON: {_fault(text, error, name)}"


def _fault(text: str, error: orjson.JSONDecodeError, name: str) -> str:
    place = f"at character {error.pos + 1}"
    if "\0" in text:
        return f"a NUL, at character {text.index(chr(0)) + 1}; is the file whole, and text?"
    if error.pos >= len(text.rstrip("\r\n")):
        return f"the {name} ends before the object does; a line break inside a text is written \\n"
    # The parser points at the first letter, which may have a sign before it.
    if found := _NO_NUMBER.match(text, max(error.pos - 1, 0)) or _NO_NUMBER.match(text, error.pos):
        return f"{found[0]}, {place}; write null or a number"
    if "surrogate" in error.msg:
        return f"{error.msg}, {place}: half a character; write the whole of it, or U+FFFD"
    if "depth" in error.msg or "ecursion" in error.msg:  # orjson's words, now and before
        return "lists or objects nested too deeply to be read"
    return f"{error.msg}, {place}"
