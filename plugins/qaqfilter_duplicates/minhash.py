"""Signatures of texts by which their Jaccard similarity can be estimated (MinHash).

Of each permutation only the lowest eight bits are kept (b-bit minwise hashing, Li and König,
arXiv 0910.3349): a byte is equal by chance once in 256, which the estimate takes back out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

BY_CHANCE = 1 / 256
SEED = 42
"""Of the permutations. Signatures in a scores.parquet are compared with others of this seed."""
_WORD = re.compile(r"\w+|[^\w\s]")


def shingles(texts: Iterable[str], unit: str, size: int) -> set[str]:
    """All runs of `size` words or characters; a shorter text is one shingle, an empty one none.

    Words are runs of letters, digits and underscores; every other sign that is no white space is
    one too, since it is what most code differs by.
    """
    found: set[str] = set()
    for text in texts:
        if unit == "characters":
            found.update(text[at : at + size] for at in range(max(1, len(text) - size + 1)))
        else:
            words = _WORD.findall(text)
            ends = range(size, max(size, len(words)) + 1)
            found.update(" ".join(words[end - size : end]) for end in ends)
    found.discard("")
    return found


def signature(shingles: set[str], size: int) -> bytes:
    """`size` bytes; the order of the shingles makes no difference."""
    from rensa import RMinHash

    made = RMinHash(num_perm=size, seed=SEED)
    # Bytes: JSON may hold half a surrogate pair, which no UTF-8 text of rensa's can.
    made.update([shingle.encode("utf-8", "surrogatepass") for shingle in shingles])
    return np.array(made.digest(), dtype=np.uint32).astype(np.uint8).tobytes()


def similarity(many: NDArray[np.uint8], one: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The estimate for each row of `many`: unbiased, so it may be a little below 0."""
    equal = np.count_nonzero(many == one, axis=1) / len(one)
    estimate: NDArray[np.float64] = (equal - BY_CHANCE) / (1 - BY_CHANCE)
    return estimate
