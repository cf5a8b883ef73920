"""What a recipe makes of a few records, as values: to show, to sort, to write as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from qaqfilter.errors import UsageError
from qaqfilter.types import Record, Rejection


@dataclass(frozen=True, slots=True)
class Previewed:
    """A record, its numbers by column (None: undefined or never computed), and its fate.

    `rejection` is None for a record that is kept.
    """

    record: Record
    numbers: dict[str, float | None]
    rejection: Rejection | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a recipe makes of a few records.

    Attributes
    ----------
    records: in the order of the stream.
    bad: bad records that were met on the way to them, each as place and reason.
    ranked: steps that rank, or keep a share: over all records they may decide otherwise.
    """

    name: str
    records: tuple[Previewed, ...]
    bad: tuple[str, ...]
    ranked: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What there are numbers of."""
        return tuple(self.records[0].numbers) if self.records else ()

    def sorted_by(self, column: str, *, reverse: bool = False) -> list[Previewed]:
        """The records from the lowest number to the highest; those without one at the end.

        Raises UsageError for a column that is not there.
        """
        if self.records and column not in self.columns:
            raise UsageError(f"no column {column!r}; there are: {', '.join(self.columns)}")
        there, missing = [], []
        for shown in self.records:
            number = shown.numbers[column]
            if number is None:
                missing.append(shown)
            else:
                there.append((number, shown))
        there.sort(key=itemgetter(0), reverse=reverse)
        return [shown for _, shown in there] + missing

    def as_data(self) -> dict[str, Any]:
        """Plain data, in the order of the stream."""
        return {
            "name": self.name,
            "ranked": list(self.ranked),
            "bad": list(self.bad),
            "records": [as_data(shown) for shown in self.records],
        }


def as_data(shown: Previewed) -> dict[str, Any]:
    """A record of a preview as plain data, with the fields that rejected.jsonl has too."""
    record, out = shown.record, shown.rejection
    return {
        "id": record.id,
        "part": record.origin.part,
        "ordinal": record.origin.ordinal,
        "kept": out is None,
        "step": out and out.step,
        "reason": out and out.reason,
        "value": out and out.value,
        "bound": out and out.bound,
        "numbers": shown.numbers,
        "query": record.query,
        "answer": record.answer,
    }
