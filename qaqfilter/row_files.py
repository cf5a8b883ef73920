"""A parquet file with a row for each record of the input, in order, written as records pass.

    id, part, ordinal    which record a row is

What else a row holds is the subclass's business; what the file is of stands in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from qaqfilter.errors import RunDirectoryError
from qaqfilter.types import Record

KEY = b"qaqfilter"
PLACE = ("id", "part", "ordinal")


class Places(NamedTuple):
    """Which records some rows are: arrow arrays of labels, parts and ordinals."""

    id: Any
    part: Any
    ordinal: Any


class RowFile:
    """Writes such a file, `chunk` rows at a time; `about` goes into the metadata."""

    chunk = 10_000

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self._path = path
        self._metadata = orjson.dumps(about)
        self._first = 0
        self._writer: Any = None

    def arrays(self, here: slice) -> Iterator[tuple[str, Any]]:
        """Names and arrow arrays of the columns, for some rows."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """More for the writer of parquet."""
        return {}

    def noting(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, every one of which becomes a row as it passes."""
        import pyarrow as pa

        places: list[tuple[str, str, int]] = []

        def flush() -> None:
            columns = list(zip(*places, strict=True)) or [(), (), ()]
            kinds = (pa.string(), pa.string(), pa.int64())
            self._write([pa.array(c, type=t) for c, t in zip(columns, kinds, strict=True)])
            places.clear()

        for record in records:
            places.append((record.id, record.origin.part, record.origin.ordinal))
            if len(places) == self.chunk:
                flush()
            yield record
        flush()

    def copy(self, places: Iterable[Places]) -> None:
        """All rows, from an earlier file's `places`."""
        for piece in places:
            self._write(list(piece))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, places: list[Any]) -> None:
        here = slice(self._first, self._first + len(places[0]))
        self._first = here.stop
        self.write_rows(dict(zip(PLACE, places, strict=True)) | dict(self.arrays(here)))

    def write_rows(self, named: Mapping[str, Any]) -> None:
        """Some rows, by all of their columns."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(dict(named)).replace_schema_metadata({KEY: self._metadata})
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path,
                table.schema,
                compression="zstd",
                write_page_checksum=True,
                **self.options(),
            )
        self._writer.write_table(table)


@contextmanager
def opened_rows(path: Path) -> Iterator[Any]:
    """Such a file, opened with pyarrow. Raises RunDirectoryError where it is damaged."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, ValueError, LookupError, TypeError) as error:  # pyarrow's are kinds of these
        raise RunDirectoryError(
            f"{path} cannot be read ({error}): make it anew with `qaqfilter score`"
        ) from error


def about(file: Any) -> bytes:
    """The metadata of an opened file, as it was written; KeyError where it is no such file."""
    found: bytes = (file.schema_arrow.metadata or {})[KEY]
    return found
