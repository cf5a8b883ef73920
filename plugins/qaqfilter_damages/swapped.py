"""The answer of another record, drawn by chance: fluent, and to another question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter import Record


class Swapped:
    """None where no other record has another answer."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The query with somebody else's answer."""
        for place in rng.permutation(len(others)).tolist():
            answer = others[place].answer
            if answer.strip() and answer != record.answer:
                return record.query, answer
        return None
