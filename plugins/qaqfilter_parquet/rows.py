"""A row of an Arrow batch as a mapping: values are made when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from qaqfilter_parquet.values import json_values


class Batch:
    """Rows that were read together. `arrow` is the record batch as it came."""

    def __init__(self, arrow: Any) -> None:
        self.arrow = arrow

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """Every column's values by name, in the file's order."""
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


class ParquetRow(Mapping[str, Any]):
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
