"""Records from CSV files, streaming."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, field_validator

from qaqfilter import BadRecord, Origin, Record, SourceError
from qaqfilter.input_files import InputFile, InputFiles
from qaqfilter.layout_options import TableFileOptions, find_layout
from qaqfilter.layouts import Layout
from qaqfilter_csv.reading import RawRow, rows
from qaqfilter_csv.rows import CsvRow, Head

_log = logging.getLogger(__name__)


class CsvSourceOptions(TableFileOptions):
    """Tables as text in UTF-8, whose first row names the columns."""

    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="What stands between two fields; else a tab in .tsv files, a comma in others.",
    )
    quotechar: str = Field(
        '"',
        min_length=1,
        max_length=1,
        description="What stands around a field that holds delimiters or line breaks.",
    )
    max_record_bytes: int = Field(
        1 << 24,
        ge=1,
        description="Most bytes of a row, unpacked. A longer one is a bad record, of which only "
        "the beginning is kept.",
    )

    @field_validator("delimiter", "quotechar")
    @classmethod
    def _usable(cls, value: str | None) -> str | None:
        if value is not None and (value in "\r\n\0" or not value.isascii()):
            raise ValueError("name an ASCII character that is no line end")
        return value


class CsvSource:
    """Reads the files afresh each time."""

    def __init__(self, config: CsvSourceOptions) -> None:
        self._config = config
        self._layout: Layout | None = None
        self._lost: set[str] = set()
        self._files = InputFiles(config.patterns)

    def spool(self, folder: Path) -> None:
        """Copy into `folder` what can be read only once. Raises SourceError."""
        self._files.spool(folder)

    def use_spool(self, folder: Path) -> None:
        """Read the copies that `spool` left in `folder`. Raises SourceError."""
        self._files.use_spool(folder)

    def read(self) -> Iterator[Record | BadRecord]:
        """Every row as a record or a bad record. `row` of a record is a JSON object of its fields.

        Raises SourceError where a pattern matches no file, a header is unusable or differs from
        the first file's, or `layout: auto` finds none.
        """
        files = self._files.find()
        if self._layout is None:
            self._layout = find_layout(self._config, self._objects(files))
        first: Head | None = None
        for file in files:
            found = self._rows(file)
            head = _head(file, next(found, None), *self._dialect(file))
            if head is None:
                continue
            first = first or head
            if not head.same_as(first):
                raise SourceError(
                    f"{file}: another header, delimiter or quote than in {files[0].part}; all "
                    "files of an input have the same: read them in a run each"
                )
            for ordinal, row in enumerate(found):
                yield self._record(row, head, Origin(file.part, ordinal, row.line), self._layout)

    def _dialect(self, file: InputFile) -> tuple[str, str]:
        tabs = ".tsv" in file.suffixes[-2:]
        return self._config.delimiter or ("\t" if tabs else ","), self._config.quotechar

    def _rows(self, file: InputFile) -> Iterator[RawRow]:
        return rows(file, *self._dialect(file), self._config.max_record_bytes)

    def _objects(self, files: list[InputFile]) -> Iterator[tuple[Origin, Mapping[str, Any]]]:
        for file in files:
            found = self._rows(file)
            head = _head(file, next(found, None), *self._dialect(file))
            for ordinal, row in enumerate(found):
                if head is not None and row.error is None and len(row.values) == len(head.names):
                    values = dict(zip(head.names, row.values, strict=True))
                    yield Origin(file.part, ordinal, row.line), values

    def _record(
        self, row: RawRow, head: Head, origin: Origin, layout: Layout
    ) -> Record | BadRecord:
        if row.lost and origin.part not in self._lost:
            self._lost.add(origin.part)  # one bad record looks harmless, so it is said aloud
            _log.warning("%s: %s", origin, row.error)
        if row.error is not None:
            return BadRecord(row.error, row.raw, origin)
        if len(row.values) != len(head.names):
            text = f"{len(row.values)} fields, where the header has {len(head.names)}"
            return BadRecord(text, row.raw, origin)
        fields = CsvRow(dict(zip(head.names, row.values, strict=True)), head, row.raw)
        try:
            content = layout.read(fields)
        except ValueError as error:
            return BadRecord(str(error), row.raw, origin)
        line = orjson.dumps(dict(fields), option=orjson.OPT_APPEND_NEWLINE)
        return content.record(line, origin, fields)


def _head(file: InputFile, row: RawRow | None, delimiter: str, quotechar: str) -> Head | None:
    """The header; None for a file without a row. Raises SourceError for one of no use."""
    if row is None:
        return None
    names = tuple(row.values)
    if row.error is None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{file}:{row.line}: two columns are called {twice!r}; rename one")
    if row.error is not None:
        raise SourceError(f"{file}:{row.line}: the header cannot be read: {row.error}")
    return Head(names, row.raw, delimiter, quotechar)
