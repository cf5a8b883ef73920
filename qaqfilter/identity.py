"""What identifies a score: the key of its tokens, and the fingerprint of its backend.

Two scores with one key under one fingerprint are the same number.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import orjson

KEY_BYTES = 16


class Score(NamedTuple):
    """One likelihood: sum of log-probabilities (nats; NaN for null), tokens, `Status`."""

    logprob: float
    tokens: int
    status: int


def score_key(start: int, ids: Sequence[int]) -> bytes:
    """blake2b-128 over where the target starts, and every token id up to its end.

    What a text was cut to, its template and its tokenizer show in the ids, and in nothing else.
    """
    return blake2b(array("q", (start, *ids)), digest_size=KEY_BYTES).digest()


def fingerprint(facts: Mapping[str, object]) -> str:
    """blake2b-128, in hex, over the facts of a backend: everything that moves a number."""
    text = orjson.dumps(dict(facts), option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=16).hexdigest()
