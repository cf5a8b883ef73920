"""Batches to a folder that `load_from_disk` opens, a batch at a time.

`Dataset.save_to_disk` itself wants all rows at once, and makes up a fingerprint from the time.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from qaqfilter import RunDirectoryError
from qaqfilter.printable import printable

_ROWS = 1000  # rows of an Arrow batch, as `datasets` writes them
_BYTES = 1 << 26  # rows held in memory until they are written, at most


class SavedFolder:
    """Files `data-00000-of-00002.arrow` of about `shard_bytes` each, and two of JSON about them.

    Raises RunDirectoryError where a column has a type that no data set has.
    """

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder, self._shard_bytes = folder, shard_bytes
        self._features: Any = None
        self._schema: Any = None
        self._pieces: list[Any] = []
        self._rows = self._bytes = self._in_shard = 0
        self._paths: list[Path] = []
        self._file: Any = None
        self._writer: Any = None
        self._digest = blake2b(digest_size=8)

    def write(self, batch: Any) -> None:
        """Append the rows of a record batch; the first one's schema is the data set's."""
        import pyarrow as pa
        from datasets.table import table_cast

        if self._schema is None:
            self._begin(batch.schema)
        table = pa.Table.from_batches([batch])
        if table.schema.equals(self._schema):
            table = table.replace_schema_metadata(self._schema.metadata)
        else:
            table = table_cast(table, self._schema)
        self._pieces.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= _ROWS or self._bytes >= _BYTES:
            self._flush()

    def close(self, schema: Any) -> None:
        """Write what is left, and what `datasets` wants to know of it."""
        import pyarrow as pa

        try:
            if self._schema is None:
                self._begin(schema if schema is not None else pa.schema([]))
            self._flush()
            if not self._paths:
                self._open()
        finally:
            self._close_file()
        self._describe()

    def _begin(self, schema: Any) -> None:
        from datasets import Features

        try:
            self._features = Features.from_arrow_schema(schema)
            mine = self._features.arrow_schema
        except (ValueError, TypeError, NotImplementedError) as error:
            raise RunDirectoryError(
                f"a data set has no column of such a type ({printable(str(error))}); write "
                "`output: {use: parquet}`"
            ) from None
        # Remarks of others about the columns stay beside that of `datasets`.
        self._schema = mine.with_metadata({**(schema.metadata or {}), **mine.metadata})

    def _flush(self) -> None:
        import pyarrow as pa

        pieces, self._pieces = self._pieces, []
        self._rows = self._bytes = 0
        if not pieces:
            return
        if self._writer is None:
            self._open()
        table = pa.concat_tables(pieces).combine_chunks()
        for batch in table.to_batches(max_chunksize=_ROWS):
            self._writer.write_batch(batch)
            self._digest.update(batch.serialize())
            self._in_shard += batch.nbytes
        if self._in_shard >= self._shard_bytes:
            self._close_file()

    def _open(self) -> None:
        import pyarrow as pa

        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"data-{len(self._paths):05}"
        self._paths.append(path)
        self._file = path.open("wb")
        self._writer, self._in_shard = pa.ipc.new_stream(self._file, self._schema), 0

    def _close_file(self) -> None:
        if self._file is not None:
            try:
                self._writer.close()
            finally:
                self._file.close()
                self._file = self._writer = None

    def _describe(self) -> None:
        from datasets import DatasetInfo

        names = [f"{path.name}-of-{len(self._paths):05}.arrow" for path in self._paths]
        for path, name in zip(self._paths, names, strict=True):
            path.replace(path.with_name(name))
        DatasetInfo(features=self._features).write_to_directory(self._folder, pretty_print=True)
        self._digest.update(self._schema.serialize())
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in names],
            # What `map` keeps its results by: other rows must have another.
            "_fingerprint": self._digest.hexdigest(),
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        text = json.dumps(state, indent=2) + "\n"
        (self._folder / "state.json").write_text(text, encoding="utf-8")
