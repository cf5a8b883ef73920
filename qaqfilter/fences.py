"""Fenced code blocks of Markdown, as chat models write them: code and prose, told apart.

A fence is a line of three or more backticks or tildes, indented by whatever a list indents it. The
word behind it names the language. It ends at a line of as many or more of the same, or, where an
answer was cut off, at the end of the text (CommonMark 0.31.2, section 4.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_OPENING = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`\r\n]*)\r?\n?\Z")


class Fenced(NamedTuple):
    """A code block: `language` is the word behind the fence, lower case, "" where there is none."""

    language: str
    code: str


def fenced_blocks(text: str) -> list[Fenced]:
    """The code blocks of a text, in order, without their fences and common indent."""
    return [piece for piece in _pieces(text) if isinstance(piece, Fenced)]


def prose(text: str) -> str:
    """What stands outside the code blocks of a text."""
    return "".join(piece for piece in _pieces(text) if not isinstance(piece, Fenced))


def _pieces(text: str) -> Iterator[str | Fenced]:
    """Lines outside of blocks, and blocks."""
    language, fence, indent = "", "", 0
    inside: list[str] = []
    # Not splitlines: a form feed or U+2028 ends no line of code.
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if fence:
            bare = line.strip()
            if bare and not bare.strip(fence[0]) and len(bare) >= len(fence):
                yield Fenced(language, "".join(inside))
                fence, inside = "", []
            else:
                own = len(line) - len(line.lstrip(" \t"))
                inside.append(line[min(indent, own) :])
        elif opening := _OPENING.match(line):
            indent, fence = len(opening[1]), opening[2]
            words = opening[3].strip().strip("{}").lstrip(".").split()
            language = re.split(r"[,:;{]", words[0])[0].lower() if words else ""
        else:
            yield line
    if fence:
        yield Fenced(language, "".join(inside))
