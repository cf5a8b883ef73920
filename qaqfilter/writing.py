"""The last read: every record goes to its place, and every number to scores.parquet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qaqfilter.protocols import Sink
from qaqfilter.stream import RecordStream
from qaqfilter.types import Floats, LikelihoodColumn, Record, Rejection

SCORES = "scores.parquet"
CHUNK = 10_000
AT_ONCE = 256
"""Records between two words of progress."""


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of each row: `step` is -1 for kept, else an index into `steps`."""

    steps: Sequence[str]
    reasons: list[str]
    step: np.typing.NDArray[np.int16]
    reason: np.typing.NDArray[np.int16]
    value: Floats
    bound: Floats

    def rejections(self) -> Iterator[Rejection | None]:
        """Why each row was thrown out, or None for a kept one, in order."""
        for first in range(0, len(self.step), AT_ONCE):
            # Python's numbers, a few at once: taken one by one from the arrays they cost more
            # than all else that is done for a row here, and all together they fill the memory.
            here = slice(first, first + AT_ONCE)
            columns = (self.step, self.reason, self.value, self.bound)
            for step, reason, value, bound in zip(
                *(c[here].tolist() for c in columns), strict=True
            ):
                if step < 0:
                    yield None
                else:
                    yield Rejection(
                        self.steps[step], self.reasons[reason], _or_none(value), _or_none(bound)
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
    kept = rejected = done = 0
    seen: dict[str, int] = {}
    for found, rejection in zip(stream.read(), fates.rejections(), strict=True):
        record = found
        if record.id in stream.duplicate_ids:
            seen[record.id] = seen.get(record.id, 0) + 1
            if seen[record.id] > 1:
                record = replace(record, id=f"{record.id}#{seen[record.id]}")
        if rejection is None:
            sink.keep(record)
            kept += 1
        else:
            if rejects:
                sink.reject(record, rejection)
            rejected += 1
        if scores is not None:
            scores.add(record)
        done += 1
        if done == AT_ONCE:
            progress(done, 0)
            done = 0
    progress(done, 0)
    return kept, rejected


class ScoresFile:
    """scores.parquet: one row a record, a column a number; null where undefined or not scored."""

    def __init__(
        self,
        path: Path,
        fates: Fates,
        likelihoods: Mapping[str, LikelihoodColumn],
        columns: Mapping[str, Floats],
    ) -> None:
        self._path = path
        self._fates = fates
        # Each array beside the one whose NaN says where it is null.
        self._numbers: dict[str, tuple[np.typing.NDArray[Any], Floats]] = {}
        for name, column in likelihoods.items():
            self._numbers[f"{name}.logprob"] = (column.logprob, column.logprob)
            self._numbers[f"{name}.tokens"] = (column.tokens, column.logprob)
        self._numbers |= {name: (values, values) for name, values in columns.items()}
        self._places: list[tuple[str, str, int]] = []
        self._first = 0
        self._writer: Any = None

    def add(self, record: Record) -> None:
        """Take one record; rows come in order."""
        self._places.append((record.id, record.origin.part, record.origin.ordinal))
        if len(self._places) == CHUNK:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._places or self._writer is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        here = slice(self._first, self._first + len(self._places))
        ids, parts, ordinals = zip(*self._places, strict=True) if self._places else ((), (), ())
        arrays = [
            pa.array(ids, type=pa.string()),
            pa.array(parts, type=pa.string()),
            pa.array(ordinals, type=pa.int64()),
        ]
        kept = self._fates.step[here] < 0
        arrays.append(pa.array(kept))
        for codes, words in (
            (self._fates.step, self._fates.steps),
            (self._fates.reason, self._fates.reasons),
        ):
            coded = pa.array(codes[here], mask=kept)
            dictionary = pa.array(words, type=pa.string())
            arrays.append(pa.DictionaryArray.from_arrays(coded, dictionary).dictionary_decode())
        for numbers, nulls in self._numbers.values():
            arrays.append(pa.array(numbers[here], mask=np.isnan(nulls[here])))
        names = ["id", "part", "ordinal", "kept", "step", "reason", *self._numbers]
        table = pa.Table.from_arrays(arrays, names=names)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._first += len(self._places)
        self._places.clear()


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
