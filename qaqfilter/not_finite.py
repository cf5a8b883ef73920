"""How many records a model may answer with NaN or infinity before the run fails.

One such answer is the record's affair: a null. Many are the model's: damaged weights, or a
number type that overflows. The limit is that of bad records, `input.max_errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qaqfilter.errors import TooManyBadRecords
from qaqfilter.execution import WindowScores
from qaqfilter.identity import fingerprint
from qaqfilter.types import Ints, Origin, Status


def count_not_finite(statuses: Sequence[NDArray[np.int8]], owner: Ints) -> tuple[int, int | None]:
    """How many records are null for this reason in any likelihood's statuses; the first's index.

    `owner` is the index of the record that each entry belongs to.
    """
    rows = np.unique(np.concatenate([owner[s == Status.NOT_FINITE] for s in statuses]))
    return len(rows), int(rows[0]) if len(rows) else None


class NotFinite:
    """Counts one model's windows, and ends the run once the limit is certainly exceeded.

    `model` is what messages call it; `records` how many it is asked about in all; `max_errors`,
    below 1, is a share of these, and from 1 on a count.
    """

    def __init__(self, model: str, records: int, max_errors: float) -> None:
        self._model = model
        self._records = records
        self._limit = max_errors
        self._allowed = max_errors * records if max_errors < 1 else max_errors
        self._seen = 0
        self._bad = 0
        self._first: Origin | None = None

    def see(self, scores: WindowScores) -> None:
        """Count a window. Raises TooManyBadRecords (exit code 3)."""
        self._seen += len(scores.rows)
        self._bad += scores.not_finite
        self._first = self._first or scores.first_not_finite
        if self._bad <= self._allowed:
            return
        raise TooManyBadRecords(
            f"{self._model} gave NaN or infinity for {self._bad} of the {self._seen} records "
            f"scored so far (it is asked about {self._records}), more than input.max_errors = "
            f"{self._limit:g} allows; the first is {self._first}. Either the weights are damaged: "
            "fetch the model again; or the number type overflows: set `dtype: float32` or "
            "`dtype: bfloat16` where the backend has it. The nulls are in the score store: to "
            "score them anew with the same model, run "
            f"`qaqfilter cache clear {fingerprint(scores.facts)}`"
        )
