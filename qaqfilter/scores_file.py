"""scores.parquet: one row a record, a column a number; null where undefined or not computed.

    id, part, ordinal, kept, step, reason    which record it is, and what became of it
    <view>.<likelihood>.logprob              sum over its tokens, nats
    <view>.<likelihood>.tokens               how many they are
    <view>.<likelihood>.missing              why there is no number (`not_scored`: nobody asked)
    <step>.<column>                          what the step measured or scored
    <step>.measured                          whether the step has looked at the text
    <step>.group                             the value among whose peers it ranks

What each column is stands in the file's metadata too: nothing has to be guessed from a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from qaqfilter.columns import Columns, Group, Measured
from qaqfilter.errors import RunDirectoryError
from qaqfilter.fates import Fates
from qaqfilter.types import LikelihoodColumn, Record, Status

SCORES = "scores.parquet"
CHUNK = 10_000
"""Rows that are written at a time."""
KEY = b"qaqfilter"
_PLACE = ("id", "part", "ordinal")
_MISSING = [status.reason for status in Status]


class ScoresFile:
    """Writes the columns and fates of a run; which record a row is comes from outside."""

    def __init__(self, path: Path, fates: Fates, columns: Columns, input_digest: str) -> None:
        self._path, self._fates, self._columns = path, fates, _in_order(columns, fates.steps)
        columns = self._columns
        self._metadata = orjson.dumps(
            {
                "format": 1,
                "input_digest": input_digest,
                "likelihoods": list(columns.likelihoods),
                "numbers": list(columns.numbers),
                "measured": {step: sorted(m.names) for step, m in columns.measured.items()},
                "groups": list(columns.groups),
            }
        )
        self._first = 0
        self._writer: Any = None

    def noting(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, every one of which becomes a row as it passes."""
        import pyarrow as pa

        places: list[tuple[str, str, int]] = []

        def flush() -> None:
            columns = list(zip(*places, strict=True)) or [(), (), ()]
            kinds = (pa.string(), pa.string(), pa.int64())
            arrays = [pa.array(c, type=t) for c, t in zip(columns, kinds, strict=True)]
            self._write(arrays)
            places.clear()

        for record in records:
            places.append((record.id, record.origin.part, record.origin.ordinal))
            if len(places) == CHUNK:
                flush()
            yield record
        flush()

    def copy(self, places: Any) -> None:
        """All rows, from an earlier file's `places`."""
        for first in range(0, max(1, len(places)), CHUNK):
            piece = places.slice(first, CHUNK)
            self._write([piece[name].combine_chunks() for name in _PLACE])

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, places: list[Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        here = slice(self._first, self._first + len(places[0]))
        named = dict(zip(_PLACE, places, strict=True)) | dict(self._arrays(here))
        table = pa.table(named).replace_schema_metadata({KEY: self._metadata})
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, table.schema, compression="zstd", write_page_checksum=True
            )
        self._writer.write_table(table)
        self._first = here.stop

    def _arrays(self, here: slice) -> Iterator[tuple[str, Any]]:
        import pyarrow as pa

        fates, columns = self._fates, self._columns
        kept = fates.step[here] < 0
        yield "kept", pa.array(kept)
        yield "step", _words(fates.step[here], fates.steps, kept)
        yield "reason", _words(fates.reason[here], fates.reasons, kept)
        for name, column in columns.likelihoods.items():
            missing = column.status[here] != Status.OK
            yield f"{name}.logprob", pa.array(column.logprob[here], mask=missing)
            yield f"{name}.tokens", pa.array(column.tokens[here], mask=missing)
            yield f"{name}.missing", _words(column.status[here], _MISSING, ~missing)
        for name, values in columns.numbers.items():
            yield name, pa.array(values[here], mask=np.isnan(values[here]))
        for step, measured in columns.measured.items():
            yield f"{step}.measured", pa.array(measured.rows[here])
        for step, group in columns.groups.items():
            codes = group.codes[here]
            yield f"{step}.group", _words(codes, group.words, codes < 0)


def _in_order(columns: Columns, steps: Sequence[str]) -> Columns:
    """The same columns in an order that does not depend on what was computed first."""

    def place(name: str) -> tuple[int, str]:
        owner = name.partition(".")[0]
        return (steps.index(owner), "") if owner in steps else (-1, name)

    return Columns(
        columns.size,
        {name: columns.likelihoods[name] for name in sorted(columns.likelihoods)},
        {name: columns.numbers[name] for name in sorted(columns.numbers, key=place)},
        {step: columns.groups[step] for step in steps if step in columns.groups},
        {step: columns.measured[step] for step in steps if step in columns.measured},
    )


def _words(codes: NDArray[Any], words: list[Any], null: NDArray[np.bool_]) -> Any:
    import pyarrow as pa

    used, short = np.unique(np.where(null, 0, codes), return_inverse=True)
    of_these = pa.array([words[code] for code in used.tolist()] if words else [None], pa.string())
    coded = pa.array(short.astype(np.int32), mask=null)
    return pa.DictionaryArray.from_arrays(coded, of_these).dictionary_decode()


class Scored(NamedTuple):
    """What a scores.parquet holds: the columns, and which record each row is (an arrow table)."""

    columns: Columns
    places: Any
    input_digest: str


def read_scores(path: Path) -> Scored:
    """Read what a ScoresFile wrote. Raises RunDirectoryError, naming the file."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return _read(file)
    except (OSError, ValueError, LookupError, TypeError) as error:  # pyarrow's are kinds of these
        raise RunDirectoryError(
            f"{path} cannot be read ({error}): make it anew with `qaqfilter score`"
        ) from error


def _read(file: Any) -> Scored:
    import pyarrow as pa
    import pyarrow.compute as pc

    described = orjson.loads((file.schema_arrow.metadata or {})[KEY])

    def column(name: str) -> Any:  # one at a time: half the memory of all at once
        return file.read([name])[name]

    columns = Columns(file.metadata.num_rows)
    reasons = pa.array(_MISSING)
    for name in described["likelihoods"]:
        status = pc.fill_null(pc.index_in(column(f"{name}.missing"), reasons), 0)
        columns.likelihoods[name] = LikelihoodColumn(
            np.array(column(f"{name}.logprob").to_numpy()),
            np.array(pc.fill_null(column(f"{name}.tokens"), 0), dtype=np.int32),
            np.array(status, dtype=np.int8),
        )
    for name in described["numbers"]:
        columns.numbers[name] = np.array(column(name).to_numpy())
    for step, names in described["measured"].items():
        columns.measured[step] = Measured(np.array(column(f"{step}.measured")), set(names))
    for step in described["groups"]:
        coded = column(f"{step}.group").combine_chunks().dictionary_encode("encode")
        columns.groups[step] = Group(
            np.array(coded.indices, dtype=np.int64), coded.dictionary.to_pylist()
        )
    return Scored(columns, file.read(list(_PLACE)), described["input_digest"])
