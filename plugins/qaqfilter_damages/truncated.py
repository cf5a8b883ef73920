"""The first fifth of the answer, as where a generation was cut off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter import Record

FEWEST = 10
"""Characters of an answer of which a fifth is still something."""


class Truncated:
    """None for an answer of fewer than ten characters."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """A fifth of the characters, rounded down."""
        answer = record.answer.strip()
        return (record.query, answer[: len(answer) // 5]) if len(answer) >= FEWEST else None
