"""Batches to parquet files, a row group at a time, in one file or several."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

from qaqfilter.output_files import ShardOptions, shard_name

_GROUP_BYTES = 1 << 26  # rows held in memory until they are written, at most


class Output:
    """`name`.parquet, or `name`-00000.parquet and so on where the options ask for shards.

    A row group has at most `group_rows` rows, or 64 MiB in memory if that is less. The bytes of a
    shard are counted as in memory, too: before values are encoded and compressed.
    """

    def __init__(
        self, folder: Path, name: str, compression: str, group_rows: int, options: ShardOptions
    ) -> None:
        self._folder, self._name, self._options = folder, name, options
        self._compression = None if compression == "none" else compression
        self._group_rows = group_rows
        self._schema: Any = None
        self._writer: Any = None
        self._pieces: list[Any] = []
        self._rows = self._bytes = self._shard_rows = self._shard_bytes = self._shards = 0

    def write(self, batch: Any) -> None:
        """Append the rows of a record batch; the first one's schema is the file's."""
        if self._schema is None:
            self._schema = batch.schema
        elif batch.schema != self._schema or batch.schema.metadata != self._schema.metadata:
            # The next file of the input: the same columns, other remarks about them.
            batch = batch.cast(self._schema)
        while batch.num_rows:
            taken = batch.slice(0, self._fitting(batch))
            if not taken.num_rows:
                self._end_shard()
                continue
            self._pieces.append(taken)
            self._rows += taken.num_rows
            self._bytes += taken.nbytes
            self._shard_rows += taken.num_rows
            self._shard_bytes += taken.nbytes
            batch = batch.slice(taken.num_rows)
            if self._rows >= self._group_rows or self._bytes >= _GROUP_BYTES:
                self._flush()

    def _fitting(self, batch: Any) -> int:
        """How many rows of a batch still go into this row group and this shard."""
        rows: int = min(batch.num_rows, self._group_rows - self._rows)
        most, room = self._options.shard_rows, self._options.shard_bytes
        if most is not None:
            rows = min(rows, most - self._shard_rows)
        if room is None or batch.slice(0, rows).nbytes <= room - self._shard_bytes:
            return rows
        room -= self._shard_bytes
        fits: int = bisect_right(range(1, rows + 1), room, key=lambda n: batch.slice(0, n).nbytes)
        return fits if fits or self._shard_rows else 1

    def _flush(self) -> None:
        """Write what is held as a row group."""
        import pyarrow as pa

        pieces, rows, self._pieces = self._pieces, self._rows, []
        self._rows = self._bytes = 0
        if self._writer is None:
            self._open(self._schema)
        if pieces:
            table = pa.Table.from_batches(pieces, self._schema)
            self._writer.write_table(table, row_group_size=rows)

    def _end_shard(self) -> None:
        self._flush()
        self._writer.close()
        self._writer, self._shard_rows, self._shard_bytes = None, 0, 0

    def _open(self, schema: Any) -> None:
        import pyarrow.parquet as pq

        name = shard_name(self._name, self._shards, self._options)
        path = self._folder / f"{name}.parquet"
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
