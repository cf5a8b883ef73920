"""Records from parquet files, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from qaqfilter import BadRecord, Origin, Record
from qaqfilter.input_files import find_files
from qaqfilter.layout_options import TableFileOptions, find_layout
from qaqfilter.layouts import Layout
from qaqfilter_parquet.files import batches, check_schemas
from qaqfilter_parquet.rows import Batch, ParquetRow
from qaqfilter_parquet.values import NotText, as_json


class ParquetSourceOptions(TableFileOptions):
    """Parquet files; query and answer may stand in nested columns."""

    batch_rows: int = Field(
        256,
        ge=1,
        le=1 << 16,
        description="Rows that are read together, which bounds the memory: a few batches are held "
        "at a time, never a file or a row group. Fewer where single rows are huge.",
    )


class ParquetSource:
    """Reads the files afresh each time. All columns are read, since kept rows leave whole."""

    def __init__(self, config: ParquetSourceOptions) -> None:
        self._config = config
        self._layout: Layout | None = None

    def read(self) -> Iterator[Record | BadRecord]:
        """Every row as a record or a bad record. `row` is the row as a JSON line.

        Raises SourceError where a file is no parquet, is damaged, or has other columns than the
        first, and where `layout: auto` finds none.
        """
        files = find_files(self._config.patterns)
        check_schemas(files)
        if self._layout is None:
            self._layout = find_layout(self._config, self._rows(files))
        for part, path in files:
            ordinal = 0
            for arrow in batches(path, self._config.batch_rows):
                yield from _records(Batch(arrow), part, ordinal, self._layout)
                ordinal += arrow.num_rows

    def _rows(self, files: list[tuple[str, Path]]) -> Iterator[tuple[Origin, Mapping[str, Any]]]:
        for part, path in files:
            for arrow in batches(path, self._config.batch_rows):
                batch = Batch(arrow)
                for index in range(arrow.num_rows):
                    yield Origin(part, index), ParquetRow(batch, index)


def _records(batch: Batch, part: str, first: int, layout: Layout) -> Iterator[Record | BadRecord]:
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
            yield content.record(row, origin, ParquetRow(batch, index))
