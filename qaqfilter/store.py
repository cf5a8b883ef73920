"""What identifies a score: the key of its request, and the fingerprint of its backend.

Two scores with one key under one fingerprint are the same number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson

from qaqfilter.types import Request


def request_key(request: Request, too_long: str = "reject") -> bytes:
    """blake2b-128 over the request: segments with their markup bits, boundary, truncation.

    Lengths go before texts, so that no two requests share a byte string.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(len(request.context).to_bytes(4, "big"))
    for segment in (*request.context, request.target):
        text = segment.text.encode("utf-8", "surrogatepass")
        digest.update(bytes([segment.markup]))
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text)
    digest.update(too_long.encode())
    return digest.digest()


def fingerprint(facts: Mapping[str, object]) -> str:
    """blake2b-128, in hex, over the facts of a backend: everything that moves a number."""
    text = orjson.dumps(dict(facts), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()
