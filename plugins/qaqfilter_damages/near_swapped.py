"""The answer of the record that is most alike: on the subject, and to another question.

Alike by the runs of four characters that two texts share (Jaccard, estimated over 4096 hashed
runs), query and answer taken together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np

from qaqfilter import Record

RUN = 4
BUCKETS = 4096


class NearSwapped:
    """None where no other record has another answer. Chance plays no part."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The query with the answer of its nearest; of equally near ones the first."""
        own = _runs(record.query, record.answer)
        best, nearest = -1.0, None
        for other in others:
            if not other.answer.strip() or other.answer == record.answer:
                continue
            runs = _runs(other.query, other.answer)
            either = (own | runs).bit_count()
            alike = (own & runs).bit_count() / either if either else 0.0
            if alike > best:
                best, nearest = alike, other
        return None if nearest is None else (record.query, nearest.answer)


@lru_cache(maxsize=1 << 14)
def _runs(query: str, answer: str) -> int:
    """A bit for each run of characters, at a place by its hash."""
    # JSON may hold half a surrogate pair; it has bytes here too.
    text = f"{query}\n{answer}".lower().encode("utf-8", "surrogatepass")
    found = 0
    for run in {text[at : at + RUN] for at in range(max(1, len(text) - RUN + 1))}:
        found |= 1 << crc32(run) % BUCKETS
    return found
