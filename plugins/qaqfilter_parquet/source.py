"""Records from parquet files, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from qaqfilter import BadRecord, Origin, Record
from qaqfilter.arrow_rows import ArrowRow, Batch, records
from qaqfilter.input_files import InputFile, InputFiles, part_of
from qaqfilter.layout_options import TableFileOptions, find_layout
from qaqfilter.layouts import Layout
from qaqfilter_parquet.files import batches, check_schemas


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
        self._files = InputFiles(config.patterns)

    def spool(self, folder: Path) -> None:
        """Copy into `folder` what can be read only once. Raises SourceError."""
        self._files.spool(folder)

    def use_spool(self, folder: Path) -> None:
        """Read the copies that `spool` left in `folder`. Raises SourceError."""
        self._files.use_spool(folder)

    def read(self) -> Iterator[Record | BadRecord]:
        """Every row as a record or a bad record. `row` is the row as a JSON line.

        Raises SourceError where a file is no parquet, is damaged, or has other columns than the
        first, and where `layout: auto` finds none.
        """
        files = self._files.find()
        check_schemas(files)
        layout = self._choose_layout(files)
        for file in files:
            yield from self._read(file, layout)

    def read_part(self, part: str) -> Iterator[Record | BadRecord]:
        """What `read` yields of one file. Raises SourceError where there is none of that name."""
        files = self._files.find()
        return self._read(part_of(files, part), self._choose_layout(files))

    def _read(self, file: InputFile, layout: Layout) -> Iterator[Record | BadRecord]:
        ordinal = 0
        for arrow in batches(file, self._config.batch_rows):
            yield from records(Batch(arrow), file.part, ordinal, layout)
            ordinal += arrow.num_rows

    def _choose_layout(self, files: list[InputFile]) -> Layout:
        """The layout, found once: every read is by the same one."""
        if self._layout is None:
            self._layout = find_layout(self._config, self._rows(files))
        return self._layout

    def _rows(self, files: list[InputFile]) -> Iterator[tuple[Origin, Mapping[str, Any]]]:
        for file in files:
            for arrow in batches(file, self._config.batch_rows):
                batch = Batch(arrow)
                for index in range(arrow.num_rows):
                    yield Origin(file.part, index), ArrowRow(batch, index)
