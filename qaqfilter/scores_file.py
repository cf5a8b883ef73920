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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from qaqfilter.fates import Fates
from qaqfilter.groups import Group
from qaqfilter.row_files import PLACE, Places, RowFile, about, opened_rows

SCORES = "scores.parquet"


class ScoresFile(RowFile):
    """Writes the columns and fates of a run; which record a row is comes from outside."""

    def __init__(self, path: Path, fates: Fates, columns: Columns, input_digest: str) -> None:
        self._fates, self._columns = fates, _in_order(columns, fates.steps)
        columns = self._columns
        super().__init__(
            path,
            {
                "format": 1,
                "input_digest": input_digest,
                "likelihoods": list(columns.likelihoods),
                "numbers": list(columns.numbers),
                "measured": {step: sorted(m.names) for step, m in columns.measured.items()},
                "groups": list(columns.groups),
            },
        )

    def arrays(self, here: slice) -> Iterator[tuple[str, Any]]:
        """What became of the rows, and every column."""
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
        with opened_rows(self.path) as file:
            if about(file) != self.written or file.metadata.num_rows != self.columns.size:
                raise ValueError("somebody else wrote it anew")
            # Without rows there is a piece all the same, so that a copy has the columns.
            for batch in file.iter_batches(ScoresFile.chunk, columns=list(PLACE)):
                yield Places(*batch.columns)
            if not self.columns.size:
                yield Places(*(column.combine_chunks() for column in file.read(list(PLACE))))

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
    with opened_rows(path) as file:
        return _read(path, file)


def _read(path: Path, file: Any) -> Scored:
    written = about(file)
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
