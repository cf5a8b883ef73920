"""What every sink of typed rows does: rows by their place in a batch, others by inference.

The plugin's sink inherits ArrowSink and brings the two files that batches are written to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from qaqfilter.arrow_inference import convert, infer
from qaqfilter.arrow_rows import ArrowRow, Batch
from qaqfilter.errors import RunDirectoryError
from qaqfilter.sinks import Numbers
from qaqfilter.types import Record, Rejection

_CONVERTED = 256  # records of another format that are converted together


class _Fate(NamedTuple):
    """What is written beside a record: the numbers of a kept one, why another was rejected."""

    rejection: Rejection | None
    numbers: Numbers | None = None


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
        self._rows: list[tuple[int, Numbers | None]] = []
        self._rejections: list[tuple[int, Record, Rejection]] = []
        self._waiting: list[tuple[Record, _Fate]] = []
        self._schema: Any = None
        self._any_rejected = False
        self._field: Any = None

    def keep(self, record: Record) -> None:
        """Take the record's row as it is."""
        self._put(record, _Fate(None))

    def annotate(self, field: str, names: Mapping[str, Sequence[str]]) -> None:
        """Numbers come as a struct of that name, of one struct for each model and step."""
        import pyarrow as pa

        inner = {
            owner: pa.struct([(name, pa.float64()) for name in owned])
            for owner, owned in names.items()
        }
        self._field = pa.field(field, pa.struct(list(inner.items())))

    def keep_with(self, record: Record, numbers: Numbers) -> None:
        """Take the record's row as it is, and the numbers as a struct beside it."""
        self._put(record, _Fate(None, numbers))

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Take the record's row, and step, reason, value and bound as a struct beside it."""
        self._put(record, _Fate(rejection))

    def close(self) -> None:
        """Write what is left."""
        try:
            self._convert()
            self._flush_batch()
        finally:
            try:
                self._kept.close(self._annotated(self._schema))
            finally:
                if self._any_rejected:
                    self._rejected.close(self._schema)

    def _put(self, record: Record, fate: _Fate) -> None:
        row = record.fields
        if not isinstance(row, ArrowRow):
            self._waiting.append((record, fate))
            most = self._infer_rows if self._schema is None else _CONVERTED
            if len(self._waiting) >= most:
                self._convert()
            return
        if row.batch is not self._batch:
            self._flush_batch()
            self._batch, self._schema = row.batch, self._schema or row.batch.arrow.schema
        _sort_in(row.index, record, fate, self._rows, self._rejections)

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
        rows: list[tuple[int, Numbers | None]] = []
        gone: list[tuple[int, Record, Rejection]] = []
        for index, (record, fate) in enumerate(waiting):
            _sort_in(index, record, fate, rows, gone)
        self._hand_over(convert(records, self._schema), rows, gone)

    def _hand_over(
        self,
        arrow: Any,
        rows: list[tuple[int, Numbers | None]],
        gone: list[tuple[int, Record, Rejection]],
    ) -> None:
        if rows:
            kept = _taken(arrow, [index for index, _ in rows])
            self._kept.write(self._with_numbers(kept, [numbers for _, numbers in rows]))
        if gone:
            self._any_rejected = True
            self._rejected.write(_with_reasons(_taken(arrow, [row for row, *_ in gone]), gone))

    def _with_numbers(self, arrow: Any, numbers: list[Numbers | None]) -> Any:
        import pyarrow as pa

        if self._field is None:
            return arrow
        values = pa.array(numbers, self._field.type)
        return pa.record_batch([*arrow.columns, values], schema=self._annotated(arrow.schema))

    def _annotated(self, schema: Any) -> Any:
        """A schema of kept records, with the struct of numbers as its last column."""
        if self._field is None or schema is None:
            return schema
        if self._field.name in schema.names:
            raise RunDirectoryError(
                f"there is a column {self._field.name!r} already: name another one with "
                "output.annotate"
            )
        return schema.append(self._field)


def _sort_in(
    index: int,
    record: Record,
    fate: _Fate,
    rows: list[tuple[int, Numbers | None]],
    gone: list[tuple[int, Record, Rejection]],
) -> None:
    if fate.rejection is None:
        rows.append((index, fate.numbers))
    else:
        gone.append((index, record, fate.rejection))


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
