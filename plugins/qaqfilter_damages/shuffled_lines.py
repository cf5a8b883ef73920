"""The lines of the answer in another order: every word is right, and nothing follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter import Record

FEWEST = 4
"""Lines with text: of fewer, most orders are nearly the right one."""
TRIES = 10


class ShuffledLines:
    """None for fewer than four lines with text, or where all of them are the same."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """All lines, empty ones too, in an order by chance."""
        lines = record.answer.split("\n")
        if sum(bool(line.strip()) for line in lines) < FEWEST:
            return None
        for _ in range(TRIES):
            shuffled = [lines[at] for at in rng.permutation(len(lines)).tolist()]
            if shuffled != lines:
                return record.query, "\n".join(shuffled)
        return None
