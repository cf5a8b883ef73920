"""What a damage must be able to do: spoil a copy of a record in a known way.

`qaqfilter calibrate` damages copies of the user's own records, to see which a recipe catches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from qaqfilter.types import Record


class Damage(Protocol):
    """One way to spoil a record."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The query and the answer of a spoilt copy; None where this record cannot be spoilt so.

        `others` is the rest of the sample, in its order, and may be empty. All chance comes from
        `rng`, which is made anew for every record: the same seed, the same copy. A copy that says
        what its record says counts as None.
        """
        ...
