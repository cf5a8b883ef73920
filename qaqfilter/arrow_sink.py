"""What every sink of typed rows does: rows by their place in a batch, others by inference.

The plugin's sink inherits ArrowSink and brings the two files that batches are written to.
"""

from __future__ import annotations

from typing import Any, Protocol

from qaqfilter.arrow_inference import convert, infer
from qaqfilter.arrow_rows import ArrowRow, Batch
from qaqfilter.types import Record, Rejection

_CONVERTED = 256  # records of another format that are converted together
_Item = tuple[Record, Rejection | None]


class BatchFile(Protocol):
    """Where batches go: nothing is opened before the first one, or the closing."""

    def write(self, batch: Any) -> None:
        """Append the rows of a `pyarrow.RecordBatch`; the first one's schema is the file's."""
        ...

    def close(self, schema: Any) -> None:
        """Finish. Without a batch it is a file of no rows, of that schema (None: no columns)."""
        ...


class ArrowSink:
    """Takes rows by their place in the batch that was read, so values and types are the input's.

    Records of another source are held until `infer_rows` of them gave a schema.
    """

    def __init__(self, kept: BatchFile, rejected: BatchFile, infer_rows: int) -> None:
        self._kept, self._rejected, self._infer_rows = kept, rejected, infer_rows
        self._batch: Batch | None = None
        self._rows: list[int] = []
        self._rejections: list[tuple[int, Record, Rejection]] = []
        self._waiting: list[_Item] = []
        self._schema: Any = None
        self._any_rejected = False

    def keep(self, record: Record) -> None:
        """Take the record's row as it is."""
        self._put(record, None)

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Take the record's row, and step, reason, value and bound as a struct beside it."""
        self._put(record, rejection)

    def close(self) -> None:
        """Write what is left."""
        try:
            self._convert()
            self._flush_batch()
        finally:
            try:
                self._kept.close(self._schema)
            finally:
                if self._any_rejected:
                    self._rejected.close(self._schema)

    def _put(self, record: Record, rejection: Rejection | None) -> None:
        row = record.fields
        if not isinstance(row, ArrowRow):
            self._waiting.append((record, rejection))
            most = self._infer_rows if self._schema is None else _CONVERTED
            if len(self._waiting) >= most:
                self._convert()
            return
        if row.batch is not self._batch:
            self._flush_batch()
            self._batch, self._schema = row.batch, self._schema or row.batch.arrow.schema
        if rejection is None:
            self._rows.append(row.index)
        else:
            self._rejections.append((row.index, record, rejection))

    def _flush_batch(self) -> None:
        """Hand over the rows of a batch that was read."""
        if self._batch is not None:
            rows, gone, arrow = self._rows, self._rejections, self._batch.arrow
            self._batch, self._rows, self._rejections = None, [], []
            self._hand_over(arrow, rows, gone)

    def _convert(self) -> None:
        """Hand over the records that wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        records = [record for record, _ in waiting]
        if self._schema is None:
            self._schema = infer(records)
        rows, gone = [], []
        for index, (record, rejection) in enumerate(waiting):
            if rejection is None:
                rows.append(index)
            else:
                gone.append((index, record, rejection))
        self._hand_over(convert(records, self._schema), rows, gone)

    def _hand_over(
        self, arrow: Any, rows: list[int], gone: list[tuple[int, Record, Rejection]]
    ) -> None:
        if rows:
            self._kept.write(_taken(arrow, rows))
        if gone:
            self._any_rejected = True
            self._rejected.write(_with_reasons(_taken(arrow, [row for row, *_ in gone]), gone))


def _taken(arrow: Any, rows: list[int]) -> Any:
    """A copy of some rows: what was read need not be held until they are written."""
    import pyarrow as pa

    if rows == list(range(rows[0], rows[0] + len(rows))) and len(rows) == arrow.num_rows:
        return arrow
    return arrow.take(pa.array(rows, pa.int64()))


def _with_reasons(arrow: Any, gone: list[tuple[int, Record, Rejection]]) -> Any:
    """The rows, and a struct `qaq` (`qaq_2` where that is taken, and so on) as the last column."""
    import pyarrow as pa

    name, number = "qaq", 1
    while name in arrow.schema.names:
        number += 1
        name = f"qaq_{number}"
    kind = pa.struct(
        {
            "step": pa.string(),
            "reason": pa.string(),
            "value": pa.float64(),
            "bound": pa.float64(),
            "id": pa.string(),
            "part": pa.string(),
            "ordinal": pa.int64(),
        }
    )
    values = [
        (why.step, why.reason, why.value, why.bound, rec.id, rec.origin.part, rec.origin.ordinal)
        for _, rec, why in gone
    ]
    schema = arrow.schema.append(pa.field(name, kind))
    return pa.record_batch([*arrow.columns, pa.array(values, kind)], schema=schema)
