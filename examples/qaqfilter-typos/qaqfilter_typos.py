"""Typing errors as people make them, in the query or in the prose of the answer.

Of the words of four letters and more one in eight gets one slip, and at least one word does. A slip
is one of the four that make up most misspellings (Damerau, CACM 7, 1964): a letter left out, put
in, replaced or swapped with the next. What is put in or replaced comes from a neighbouring key of a
QWERTY keyboard, as typists' slips mostly do (Grudin, in Cognitive Aspects of Skilled Typewriting,
1983). The first letter of a word stays.

Only prose is touched: no code block, no `code`, no line that looks like code, no address or path,
no name with digits, capitals inside or underscores. An answer that is nothing but code has no copy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from qaqfilter import Component, Damage, Options, Record, hookimpl

SHARE = 1 / 8
"""Words that are mistyped, of those that could be."""

_ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
_AT = {
    key: (x + shift, y) for y, (row, shift) in enumerate(_ROWS) for x, key in enumerate(row)
}  # in widths of a key
NEIGHBOURS = {
    key: "".join(
        other
        for other, (x, y) in _AT.items()
        if other != key and abs(y - _AT[key][1]) <= 1 and abs(x - _AT[key][0]) <= 1
    )
    for key in _AT
}
"""The keys that touch each key."""

_BLOCK = r"^[ \t]*(?P<fence>`{3,}|~{3,})(?s:.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)"
_LINE = (
    r"^(?:\t|[ ]{4}).*$"  # indented
    r"|^.*(?:[{}\\]|;[ \t]*$|\w[ ]?[-+*/]?=[ ]?[\w\"'\[(]).*$"
    r"|^[ \t]*(?:[\w.]+[(\[]|@|#!|>>>|\$[ ]|//|import[ ]|from[ ]\w+[ ]import[ ]).*$"
    r"|^[ \t]*(?:def|class|return|raise|if|elif|for|while|with)[ ][^.?!]*$"
)
_CODE = re.compile(rf"{_BLOCK}|{_LINE}|`[^`\n]+`|\S*(?:://|[/@_\d]|\w[(\[])\S*", re.MULTILINE)
_WORD = re.compile(r"(?<![\w.'’-])[A-Za-z][a-z]{3,}(?![\w'’-]|\.\w)")


def typeable(text: str) -> list[re.Match[str]]:
    """The words of a text's prose, in order, that may be mistyped."""
    code = [found.span() for found in _CODE.finditer(text)]
    words, at = [], 0
    for word in _WORD.finditer(text):
        while at < len(code) and code[at][1] <= word.start():
            at += 1
        if at == len(code) or word.end() <= code[at][0]:
            words.append(word)
    return words


def mistyped(text: str, rng: np.random.Generator) -> str | None:
    """The text with slips; None where it has no word for one."""
    words = typeable(text)
    if not words:
        return None
    hit = rng.random(len(words)) < SHARE
    hit[int(rng.integers(len(words)))] = True
    pieces, at = [], 0
    for word in (word for word, slips in zip(words, hit, strict=True) if slips):
        pieces += [text[at : word.start()], slipped(word[0], rng)]
        at = word.end()
    return "".join([*pieces, text[at:]])


def slipped(word: str, rng: np.random.Generator) -> str:
    """The word with one slip behind its first letter; never the word itself."""
    at = int(rng.integers(1, len(word)))
    before, letter, after = word[:at], word[at], word[at + 1 :]
    near = NEIGHBOURS[letter][int(rng.integers(len(NEIGHBOURS[letter])))]
    match int(rng.integers(4)):
        case 0 if after and after[0] != letter:
            return before + after[0] + letter + after[1:]
        case 1:
            return before + near + after
        case 2:
            return before + letter + near + after
        case _:
            return before + after


class QueryTypos:
    """None where the query has no word of four letters."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The query with slips; the answer as it is."""
        query = mistyped(record.query, rng)
        return None if query is None else (query, record.answer)


class AnswerTypos:
    """None where the answer has no prose."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The answer with slips in its prose; the query as it is."""
        answer = mistyped(record.answer, rng)
        return None if answer is None else (record.query, answer)


DAMAGES: dict[str, tuple[Callable[[], Damage], str]] = {
    "query_typos": (QueryTypos, "typing errors in the query"),
    "answer_typos": (AnswerTypos, "typing errors in the prose of the answer"),
}


@hookimpl
def qaqfilter_damages() -> Iterator[Component[Damage]]:
    """Offer `query_typos` and `answer_typos`."""
    for name, (made, summary) in DAMAGES.items():
        yield Component(name, Options, lambda config, made=made: made(), summary)
