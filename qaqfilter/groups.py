"""Groups: what a step ranks records by, among whose peers; words as codes.

python   python     a text is its own word
1        1          a number, true or false, a list, an object: its JSON
"1"      "1"        a text that looks like one of these, or is empty: in quotes; 1 is not "1"
null     null       so does a field that is not there; the word is None, and ranks among its peers
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import orjson

from qaqfilter.row_fields import MISSING, short
from qaqfilter.types import Bools, Floats, Ints

_NOT_PLAIN = re.compile(r'["\[{].*|-?\d+(\.\d+)?([eE][-+]?\d+)?|true|false|null|', re.DOTALL)
_WHOLE = 2.0**53
"""Up to here every whole number is a float."""


@dataclass(slots=True)
class Group:
    """A word for each row, as codes into `words`. A code of -1 is a row that nobody looked at."""

    codes: Ints
    words: list[str | None] = field(default_factory=list)
    _known: dict[str | None, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._known = {word: code for code, word in enumerate(self.words)}

    @classmethod
    def empty(cls, size: int) -> Group:
        """`size` rows that nobody looked at."""
        return cls(np.full(size, -1, dtype=np.int64))

    @classmethod
    def of_numbers(cls, values: Floats) -> Group:
        """Numbers as words, NaN as None; -0 is 0."""
        found, codes = np.unique(values + 0.0, return_inverse=True)
        return cls(codes.astype(np.int64), [word_of(value) for value in found.tolist()])

    def put(self, row: int, word: str | None) -> None:
        """Note the word of a row."""
        if word not in self._known:
            self._known[word] = len(self.words)
            self.words.append(word)
        self.codes[row] = self._known[word]

    def take(self, rows: Ints) -> Group:
        """Some rows, and those words only that they have."""
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        lost = int(np.count_nonzero(used < 0))  # -1 comes first, if at all
        words = [self.words[code] for code in used[lost:].tolist()]
        return Group(codes.astype(np.int64) - lost, words)

    def sizes(self, which: Bools | None = None) -> Ints:
        """How many rows each word has, of all or of some."""
        here = self.codes if which is None else self.codes[which]
        return np.bincount(here[here >= 0], minlength=len(self.words)).astype(np.int64)


def word_of(value: object) -> str | None:
    """The word of a field's value. Raises ValueError for one that is nested too deep to tell."""
    if isinstance(value, str):
        return _word_of_text(value)
    if value is None or value is MISSING:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() and abs(value) <= _WHOLE else value
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError as error:
        raise ValueError(f"cannot be a group ({error})") from error


@lru_cache(maxsize=4096)
def _word_of_text(text: str) -> str:
    return f'"{text}"' if _NOT_PLAIN.fullmatch(text) else text


def find_word(words: Sequence[str | None], name: str) -> int | None:
    """Which of `words` a recipe means by `name`; None for none of them.

    Quotes may be left out and added where that leaves one meaning: `1` is the number where there
    is one, else the text; `"else"` is the text.
    """
    bare = name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name
    for wanted in (None if name == "null" else name, f'"{name}"', bare):
        if wanted in words:
            return words.index(wanted)
    return None


def shown(word: str | None) -> str:
    """A word for messages and tables: safe to print, and not all of a long one."""
    return "null" if word is None else short(word)
