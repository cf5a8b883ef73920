"""How many records may be without a number by a model's fault or its prompt's before a run fails.

One such record is the record's affair: a null. Many NaN are the model's: damaged weights, or a
number type that overflows. Many that a template refuses mean that it is not for such data. The
limit of either is that of bad records, `input.max_errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qaqfilter.errors import TooManyBadRecords
from qaqfilter.execution import Nulls, WindowScores
from qaqfilter.identity import fingerprint
from qaqfilter.types import Ints, Record, Status


def not_finite(
    statuses: Sequence[NDArray[np.int8]], owner: Ints, records: Sequence[Record]
) -> Nulls | None:
    """The records that are null for this reason in any likelihood's statuses.

    `owner` is the index of the record that each entry belongs to.
    """
    rows = np.unique(np.concatenate([owner[s == Status.NOT_FINITE] for s in statuses]))
    return Nulls(len(rows), records[rows[0]].origin) if len(rows) else None


@dataclass(slots=True)
class NullLimit:
    """Counts one model's windows, and ends the run once the limit is certainly exceeded.

    `model` is what messages call it; `records` how many it is asked about in all; `max_errors`,
    below 1, is a share of these, and from 1 on a count.
    """

    model: str
    records: int
    max_errors: float
    _seen: int = 0
    _found: dict[str, Nulls] = field(default_factory=dict)

    def see(self, scores: WindowScores) -> None:
        """Count a window. Raises TooManyBadRecords (exit code 3)."""
        self._seen += len(scores.rows)
        if scores.not_finite and (bad := self._too_many("not_finite", scores.not_finite)):
            raise TooManyBadRecords(
                f"{self.model} gave NaN or infinity for {self._of(bad)}. Either the weights are "
                "damaged: fetch the model again; or the number type overflows: set "
                "`dtype: float32` or `dtype: bfloat16` where the backend has it. The nulls are in "
                "the score store: to score them anew with the same model, run "
                f"`qaqfilter cache clear {fingerprint(scores.facts)}`"
            )
        if scores.refused and (bad := self._too_many("refused", scores.refused)):
            raise TooManyBadRecords(
                f"the prompt of {self.model} cannot show {self._of(bad)}: {bad.why}. Raise "
                "input.max_errors to reject such records as no_prompt, or take a prompt that can "
                "show them: `prompt: {use: plain}`, or a template of your own"
            )

    def _too_many(self, kind: str, new: Nulls) -> Nulls | None:
        """All of the kind so far, where they are more than allowed."""
        before = self._found.get(kind, new._replace(records=0))
        found = before._replace(records=before.records + new.records)
        self._found[kind] = found
        share = self.max_errors < 1
        allowed = self.max_errors * self.records if share else self.max_errors
        return found if found.records > allowed else None

    def _of(self, bad: Nulls) -> str:
        return (
            f"{bad.records} of the {self._seen} records scored so far (it is asked about "
            f"{self.records}), more than input.max_errors = {self.max_errors:g} allows; the first "
            f"is {bad.first}"
        )
