"""Names in a text that look as if code used them."""

from __future__ import annotations

import keyword
import re
from collections import Counter

WORD = re.compile(r"(?<!\w)[A-Za-z_]\w{2,}(?!\w)")
_WORDS = """
self cls int str float bool list dict set tuple len print range super object type
and the for with not are that this from you can its has have will then
var let const function return void public private static final class new
true false null undefined string char double long struct func mut use impl
"""
_COMMON = frozenset([*keyword.kwlist, *keyword.softkwlist, *_WORDS.split()])


def names(text: str) -> list[str]:
    """Words that stand twice or more and are no keywords, the most frequent first.

    A word that looks like code (an underscore, a capital inside, a call) counts twice as much as
    one that may be prose.
    """
    found = Counter(WORD.findall(text))
    weights = {
        word: count * (2 if _looks_like_code(word, text) else 1)
        for word, count in found.items()
        if count > 1 and word.lower() not in _COMMON
    }
    return sorted(weights, key=lambda word: (-weights[word], word))


def _looks_like_code(word: str, text: str) -> bool:
    inside = "_" in word.strip("_") or any(letter.isupper() for letter in word[1:])
    return inside or f"{word}(" in text or f"{word} =" in text
