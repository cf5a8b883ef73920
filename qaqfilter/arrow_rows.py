"""Rows of Arrow batches as records: for sources whose rows have types, and sinks that keep them.

A record's `fields` are then an ArrowRow, from which a sink takes the batch and the row's place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from qaqfilter.arrow_values import NotText, as_json, json_values
from qaqfilter.layouts import Layout
from qaqfilter.types import BadRecord, Origin, Record


class Batch:
    """Rows that were read together. `arrow` is the record batch as it came."""

    def __init__(self, arrow: Any) -> None:
        self.arrow = arrow

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """Every column's values by name, in the schema's order."""
        names = self.arrow.schema.names
        return {
            name: json_values(values)
            for name, values in zip(names, self.arrow.columns, strict=True)
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row as an object."""
        names = list(self.columns)
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))


class ArrowRow(Mapping[str, Any]):
    """Row `index` of `batch`. The sink takes the Arrow values instead, which have their types."""

    __slots__ = ("batch", "index")

    def __init__(self, batch: Batch, index: int) -> None:
        self.batch = batch
        self.index = index

    def __getitem__(self, name: str) -> Any:
        return self.batch.columns[name][self.index]

    def __contains__(self, name: object) -> bool:
        return name in self.batch.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.columns)

    def __len__(self) -> int:
        return len(self.batch.columns)


def records(batch: Batch, part: str, first: int, layout: Layout) -> Iterator[Record | BadRecord]:
    """A record or a bad record for each row, of which the first has the ordinal `first`.

    `row` is the row as a JSON line.
    """
    torn = [
        name
        for name, values in batch.columns.items()
        if any(type(value) is NotText for value in values)
    ]
    for index, values in enumerate(batch.rows()):
        origin = Origin(part, first + index)
        row = as_json(values)
        bad = next((name for name in torn if type(values[name]) is NotText), None)
        if bad is not None:
            yield BadRecord(f"field {bad!r} holds bytes that are not UTF-8", row, origin)
            continue
        try:
            content = layout.read(values)
        except ValueError as error:
            yield BadRecord(str(error), row, origin)
        else:
            yield content.record(row, origin, ArrowRow(batch, index))
