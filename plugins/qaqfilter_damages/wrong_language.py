"""Code of another programming language, about the same names.

Fenced blocks are replaced each by a program of another language, and the prose around them stays.
Where the answer has no fences it is replaced whole, if it looks like code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from qaqfilter import Record, fenced_blocks
from qaqfilter_damages.identifiers import WORD, names
from qaqfilter_damages.snippets import MARKS, NAMES, SNIPPETS

_FENCES = re.compile(
    r"^(?P<open>[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*)(?P<word>[^\s`]*)(?P<rest>[^\n]*\n)"
    r"(?P<code>.*?)(?P<close>^[ \t]*(?P=fence)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_CODE = re.compile(r"[;{}]\s*$|^\s*(def|class|return|import|func|fn|var|let|for|if|while)\b", re.M)
_FALLBACK = ("process", "items", "total")


class WrongLanguage:
    """None for an answer without code."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The same names in a program of a language that the answer is not in."""
        answer = record.answer
        if not fenced_blocks(answer):
            if not _CODE.search(answer):
                return None
            return record.query, _program(_other(answer, "", rng), answer, rng)

        def put(match: re.Match[str]) -> str:
            language = _other(match["code"], match["word"], rng)
            program = _program(language, match["code"], rng)
            word = language if match["word"] else ""
            return f"{match['open']}{word}{match['rest']}{program}\n{match['close']}"

        return record.query, _FENCES.sub(put, answer)


def _other(code: str, word: str, rng: np.random.Generator) -> str:
    """A language, and not the one that the code is in."""
    own = NAMES.get(word.lower(), word.lower())
    if own not in SNIPPETS:
        hits = {name: sum(code.count(mark) for mark in marks) for name, marks in MARKS.items()}
        own = max(hits, key=lambda name: hits[name])
    there = [name for name in SNIPPETS if name != own]
    return there[int(rng.integers(len(there)))]


def _program(language: str, code: str, rng: np.random.Generator) -> str:
    """One of the language's programs, with names of the code in its gaps."""
    words = [*names(code), *dict.fromkeys(WORD.findall(code)), *_FALLBACK]
    plain = [word for word in dict.fromkeys(words) if word.isascii()]
    # The most frequent names, but not keywords of either side.
    taken = [word for word in plain if word in names(code) or "_" in word or word in _FALLBACK]
    programs = SNIPPETS[language]
    chosen = programs[int(rng.integers(len(programs)))]
    return chosen.format(a=taken[0], b=taken[1], c=taken[2])
