"""Batches to parquet files, a row group at a time, in one file or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_GROUP_BYTES = 1 << 26  # rows held in memory until they are written, at most


class Output:
    """`name`.parquet, or `name`-00000.parquet and so on with at most `shard_rows` rows each.

    A row group has at most `group_rows` rows, or 64 MiB in memory if that is less.
    """

    def __init__(
        self, folder: Path, name: str, compression: str, group_rows: int, shard_rows: int | None
    ) -> None:
        self._folder, self._name = folder, name
        self._compression = None if compression == "none" else compression
        self._group_rows, self._shard_rows = group_rows, shard_rows
        self._schema: Any = None
        self._writer: Any = None
        self._pieces: list[Any] = []
        self._rows = self._bytes = self._in_shard = self._shards = 0

    def write(self, batch: Any) -> None:
        """Append the rows of a record batch; the first one's schema is the file's."""
        if self._schema is None:
            self._schema = batch.schema
        elif batch.schema != self._schema or batch.schema.metadata != self._schema.metadata:
            # The next file of the input: the same columns, other remarks about them.
            batch = batch.cast(self._schema)
        while batch.num_rows:
            taken = batch.slice(0, self._room())
            self._pieces.append(taken)
            self._rows += taken.num_rows
            self._bytes += taken.nbytes
            batch = batch.slice(taken.num_rows)
            if self._rows >= self._room(0) or self._bytes >= _GROUP_BYTES:
                self._flush()

    def _room(self, used: int | None = None) -> int:
        """Rows that still go into this row group, which ends where the shard does."""
        group = self._group_rows
        if self._shard_rows is not None:
            group = min(group, self._shard_rows - self._in_shard)
        return group - (self._rows if used is None else used)

    def _flush(self) -> None:
        import pyarrow as pa

        pieces, rows, self._pieces = self._pieces, self._rows, []
        self._rows = self._bytes = 0
        if self._writer is None:
            self._open(self._schema)
        self._writer.write_table(pa.Table.from_batches(pieces, self._schema), row_group_size=rows)
        self._in_shard += rows
        if self._shard_rows is not None and self._in_shard >= self._shard_rows:
            self._writer.close()
            self._writer, self._in_shard = None, 0

    def _open(self, schema: Any) -> None:
        import pyarrow.parquet as pq

        number = "" if self._shard_rows is None else f"-{self._shards:05}"
        path = self._folder / f"{self._name}{number}.parquet"
        self._writer = pq.ParquetWriter(path, schema, compression=self._compression or "NONE")
        self._shards += 1

    def close(self, schema: Any = None) -> None:
        """Write what is left. Without a single row it is a file of no rows, of that schema."""
        import pyarrow as pa

        try:
            if self._pieces:
                self._flush()
            if not self._shards:
                self._open(schema if schema is not None else pa.schema([]))
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
