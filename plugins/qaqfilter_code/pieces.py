"""The code of an answer, piece by piece, and what its language is called."""

from __future__ import annotations

from typing import NamedTuple

from qaqfilter import Fenced, Record, fenced_blocks
from qaqfilter_code.detecting import detected

ALIASES = {
    "py": "python",
    "python3": "python",
    "python2": "python",
    "pycon": "python session",
    "js": "javascript",
    "jsx": "javascript",
    "mjs": "javascript",
    "node": "javascript",
    "ts": "typescript",
    "c++": "cpp",
    "cc": "cpp",
    "cxx": "cpp",
    "h": "c",
    "c#": "csharp",
    "cs": "csharp",
    "sh": "bash",
    "shell": "bash",
    "zsh": "bash",
    "golang": "go",
    "rs": "rust",
    "rb": "ruby",
    "kt": "kotlin",
    "yml": "yaml",
    "md": "markdown",
    "objectivec": "objective-c",
    "objc": "objective-c",
    "htm": "html",
    "mysql": "sql",
    "postgresql": "sql",
    "sqlite": "sql",
}
NO_CODE = {"text", "txt", "plaintext", "plain", "output", "console", "terminal", "markdown", "none"}
"""Words behind a fence that name no programming language."""


class Piece(NamedTuple):
    """Some code: its language, None where it is unknown, and how sure that is, from 0 to 1."""

    language: str | None
    sure: float
    code: bytes


def canonical(name: str) -> str:
    """One name for each language: `py` and `Python3` are `python`."""
    return ALIASES.get(name.lower(), name.lower())


def pieces(record: Record, unlabelled: str) -> list[Piece]:
    """The fenced blocks of the answers, or a whole answer where it has none.

    What the word behind a fence says is believed. `unlabelled` is said of the rest: the name of a
    language, `detect`, or `skip`. What is no code is left out.
    """
    found = []
    for one in record.exchanges():
        blocks = fenced_blocks(one.answer)
        for name, code in blocks or [Fenced("", one.answer)]:
            # JSON may hold half a surrogate pair; it has bytes here too.
            data = code.encode("utf-8", "surrogatepass")
            piece = _piece(canonical(name), data, unlabelled, fenced=bool(blocks))
            if piece is not None and data.strip():
                found.append(piece)
    return found


def _piece(name: str, code: bytes, unlabelled: str, *, fenced: bool) -> Piece | None:
    if name:
        return None if name in NO_CODE else Piece(name, 1.0, code)
    if unlabelled == "skip":
        return None
    if unlabelled != "detect":
        return Piece(canonical(unlabelled), 1.0, code)
    language, sure = detected(code)
    if language is None:
        # A fence says that it is code; a whole answer that looks like none is prose.
        return Piece(None, 0.0, code) if fenced else None
    return Piece(canonical(language), sure, code)
