"""scores.parquet: one row a record, a column a number; null where undefined or not computed.

    id, part, ordinal, kept, step, reason    which record it is, and what became of it
    <view>.<likelihood>.logprob              sum over its tokens, nats (a list: one an exchange)
    <view>.<likelihood>.tokens               how many they are
    <view>.<likelihood>.missing              why there is no number (`not_scored`: nobody asked)
    <step>.<column>                          what the step measured or scored
    <step>.measured                          whether the step has looked at the text
    <step>.group                             the field's value among whose peers it ranks
    <step>.<label>                           a word that the step took from the text

What each column is stands in the file's metadata too: nothing has to be guessed from a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from qaqfilter.arrow_columns import (
    likelihood_arrays,
    likelihood_column,
    number_arrays,
    units_of,
    words,
)
from qaqfilter.columns import Columns, Measured
from qaqfilter.errors import RunDirectoryError
from qaqfilter.fates import Fates
from qaqfilter.groups import Group
from qaqfilter.types import Record

SCORES = "scores.parquet"
CHUNK = 10_000
"""Rows that are written at a time."""
KEY = b"qaqfilter"
_PLACE = ("id", "part", "ordinal")


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

    def copy(self, places: Iterable[Places]) -> None:
        """All rows, from an earlier file's `places`."""
        for piece in places:
            self._write(list(piece))

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
        yield "step", words(fates.step[here], fates.steps, kept)
        yield "reason", words(fates.reason[here], fates.reasons, kept)
        yield from likelihood_arrays(columns, here.start, here.stop)
        yield from number_arrays(columns, here)
        for step, measured in columns.measured.items():
            yield f"{step}.measured", pa.array(measured.rows[here])
        for name, group in columns.groups.items():
            codes = group.codes[here]
            yield name, words(codes, group.words, codes < 0)


def _in_order(columns: Columns, steps: Sequence[str]) -> Columns:
    """The same columns in an order that does not depend on what was computed first."""

    def place(name: str) -> tuple[int, str]:
        owner = name.partition(".")[0]
        return (steps.index(owner), "") if owner in steps else (-1, name)

    return Columns(
        columns.size,
        {name: columns.likelihoods[name] for name in sorted(columns.likelihoods)},
        {name: columns.numbers[name] for name in sorted(columns.numbers, key=place)},
        {name: columns.groups[name] for name in sorted(columns.groups, key=place)},
        {step: columns.measured[step] for step in steps if step in columns.measured},
        columns.units,
    )


class Places(NamedTuple):
    """Which records some rows are: arrow arrays of labels, parts and ordinals."""

    id: Any
    part: Any
    ordinal: Any


@dataclass(frozen=True, slots=True)
class Scored:
    """What a scores.parquet holds. Which record a row is stays in the file until it is asked."""

    path: Path
    columns: Columns
    input_digest: str
    written: bytes
    """What is in the file's metadata, by which it is known again."""

    def places(self) -> Iterator[Places]:
        """All rows in order, a piece at a time. Raises RunDirectoryError if the file is another."""
        with _opened(self.path) as file:
            if _metadata(file) != self.written or file.metadata.num_rows != self.columns.size:
                raise ValueError("somebody else wrote it anew")
            # Without rows there is a piece all the same, so that a copy has the columns.
            for batch in file.iter_batches(CHUNK, columns=list(_PLACE)):
                yield Places(*batch.columns)
            if not self.columns.size:
                yield Places(*(column.combine_chunks() for column in file.read(list(_PLACE))))

    def label(self, row: int) -> str:
        """Which record a row is, for messages: ``id (part#ordinal)``."""
        for piece in self.places():
            if row < len(piece.id):
                id_, part, ordinal = (array[row].as_py() for array in piece)
                return f"{id_} ({part}#{ordinal})"
            row -= len(piece.id)
        raise IndexError(row)


def read_scores(path: Path) -> Scored:
    """Read what a ScoresFile wrote. Raises RunDirectoryError, naming the file."""
    with _opened(path) as file:
        return _read(path, file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, ValueError, LookupError, TypeError) as error:  # pyarrow's are kinds of these
        raise RunDirectoryError(
            f"{path} cannot be read ({error}): make it anew with `qaqfilter score`"
        ) from error


def _metadata(file: Any) -> bytes:
    found: bytes = (file.schema_arrow.metadata or {})[KEY]
    return found


def _read(path: Path, file: Any) -> Scored:
    written = _metadata(file)
    described = orjson.loads(written)

    def column(name: str) -> Any:  # one at a time: half the memory of all at once
        return file.read([name])[name]

    columns = Columns(file.metadata.num_rows)
    for name in described["likelihoods"]:
        columns.units = columns.units or units_of(column(f"{name}.tokens"))
        columns.likelihoods[name] = likelihood_column(column, name)
    for name in described["numbers"]:
        columns.numbers[name] = np.array(column(name).to_numpy())
    for step, names in described["measured"].items():
        columns.measured[step] = Measured(np.array(column(f"{step}.measured")), set(names))
    for name in described["groups"]:
        coded = column(name).combine_chunks().dictionary_encode("encode")
        columns.groups[name] = Group(
            np.array(coded.indices, dtype=np.int64), coded.dictionary.to_pylist()
        )
    return Scored(path, columns, described["input_digest"], written)
