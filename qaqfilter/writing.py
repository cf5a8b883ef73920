"""The last read: every record goes to its place, and every number to scores.parquet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qaqfilter.protocols import Sink
from qaqfilter.stream import RecordStream
from qaqfilter.types import Floats, LikelihoodColumn, Record, Rejection

SCORES = "scores.parquet"
CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of each row: `step` is -1 for kept, else an index into `steps`."""

    steps: Sequence[str]
    reasons: list[str]
    step: np.typing.NDArray[np.int16]
    reason: np.typing.NDArray[np.int16]
    value: Floats
    bound: Floats

    def rejection(self, row: int) -> Rejection | None:
        """Why a row was thrown out, or None for a kept one."""
        if self.step[row] < 0:
            return None
        return Rejection(
            self.steps[self.step[row]],
            self.reasons[self.reason[row]],
            _or_none(self.value[row]),
            _or_none(self.bound[row]),
        )


def write_outputs(
    stream: RecordStream,
    fates: Fates,
    sink: Sink,
    scores: ScoresFile | None,
    *,
    rejects: bool,
    progress: Callable[[int, int], None],
) -> tuple[int, int]:
    """Send each record to its place, in stream order; (kept, rejected) as written."""
    kept = rejected = 0
    seen: dict[str, int] = {}
    for row, found in stream.read():
        record = found
        if record.id in stream.duplicate_ids:
            seen[record.id] = seen.get(record.id, 0) + 1
            if seen[record.id] > 1:
                record = replace(record, id=f"{record.id}#{seen[record.id]}")
        rejection = fates.rejection(row)
        if rejection is None:
            sink.keep(record)
            kept += 1
        else:
            if rejects:
                sink.reject(record, rejection)
            rejected += 1
        if scores is not None:
            scores.add(record, rejection)
        progress(1, 0)
    return kept, rejected


class ScoresFile:
    """scores.parquet: one row a record, a column a number; null where undefined or not scored."""

    def __init__(
        self,
        path: Path,
        likelihoods: Mapping[str, LikelihoodColumn],
        columns: Mapping[str, Floats],
    ) -> None:
        self._path = path
        # Each array beside the one whose NaN says where it is null.
        self._numbers: dict[str, tuple[np.typing.NDArray[Any], Floats]] = {}
        for name, column in likelihoods.items():
            self._numbers[f"{name}.logprob"] = (column.logprob, column.logprob)
            self._numbers[f"{name}.tokens"] = (column.tokens, column.logprob)
        self._numbers |= {name: (values, values) for name, values in columns.items()}
        self._texts: list[tuple[str, str, int, bool, str | None, str | None]] = []
        self._first = 0
        self._writer: Any = None

    def add(self, record: Record, rejection: Rejection | None) -> None:
        """Take one record; rows come in order."""
        self._texts.append(
            (
                record.id,
                record.origin.part,
                record.origin.ordinal,
                rejection is None,
                rejection.step if rejection else None,
                rejection.reason if rejection else None,
            )
        )
        if len(self._texts) == CHUNK:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._texts or self._writer is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = ("id", "part", "ordinal", "kept", "step", "reason")
        kinds = (pa.string(), pa.string(), pa.int64(), pa.bool_(), pa.string(), pa.string())
        values = list(zip(*self._texts, strict=True)) or [() for _ in names]
        arrays = [pa.array(v, type=k) for v, k in zip(values, kinds, strict=True)]
        here = slice(self._first, self._first + len(self._texts))
        for numbers, nulls in self._numbers.values():
            arrays.append(pa.array(numbers[here], mask=np.isnan(nulls[here])))
        table = pa.Table.from_arrays(arrays, names=[*names, *self._numbers])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._first += len(self._texts)
        self._texts.clear()


def _or_none(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
