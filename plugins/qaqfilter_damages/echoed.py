"""The query in place of the answer: as coherent as can be, and worth nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter import Record


class Echoed:
    """None for an empty query."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The query, twice."""
        return (record.query, record.query) if record.query.strip() else None
