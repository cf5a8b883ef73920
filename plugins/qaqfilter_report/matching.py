"""Which record of one run is which of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qaqfilter import Bools, Ints, UsageError
from qaqfilter.reopening import Reopened
from qaqfilter.scores_file import SCORES


@dataclass(frozen=True, slots=True)
class Match:
    """Rows of two runs that are the same record, pair by pair; and those that have no like.

    `by` says how they were found: ``row`` where both read the same input, else ``id``.
    """

    by: str
    first: Ints
    second: Ints
    only_first: Ints
    only_second: Ints


def match(first: Reopened, second: Reopened) -> Match:
    """Raises UsageError where no record is in both."""
    if _input_of(first) == _input_of(second):
        rows, none = np.arange(first.run.records, dtype=np.int64), np.empty(0, dtype=np.int64)
        return Match("row", rows, rows, none, none)
    found = _by_id(first, second)
    if not len(found.first):
        raise UsageError(
            f"no record of {first.where} is in {second.where}, by the column `id` of their "
            f"{SCORES}: these runs cannot be compared"
        )
    return found


def _input_of(run: Reopened) -> list[tuple[int, int, str]]:
    """What was read, wherever it stood."""
    return [(part.records, part.bad, part.digest) for part in run.manifest.input]


def _by_id(first: Reopened, second: Reopened) -> Match:
    import pyarrow.compute as pc

    ids = [_ids(run) for run in (first, second)]
    at = pc.index_in(ids[0], value_set=ids[1]).fill_null(-1).to_numpy()
    # Of a, a and a#2 two are called a#2: then the first of them is the one that is meant.
    theirs, ours = np.unique(at, return_index=True)
    ours, theirs = ours[theirs >= 0].astype(np.int64), theirs[theirs >= 0].astype(np.int64)
    order = np.argsort(ours)
    return Match(
        "id", ours[order], theirs[order], _others(len(ids[0]), ours), _others(len(ids[1]), theirs)
    )


def _others(size: int, rows: Ints) -> Ints:
    left = np.ones(size, dtype=np.bool_)
    left[rows] = False
    return np.flatnonzero(left).astype(np.int64)


def _ids(run: Reopened) -> Any:
    """Every label, in order, as pyarrow has them."""
    import pyarrow as pa

    return pa.chunked_array([piece.id for piece in run.scored.places()], pa.string())


def labels(run: Reopened, which: Bools) -> Iterator[tuple[int, str]]:
    """(row, label) of some records of a run, in order."""
    row = 0
    for piece in run.scored.places():
        here = np.flatnonzero(which[row : row + len(piece.id)])
        for at, label in zip(here.tolist(), piece.id.take(here).to_pylist(), strict=True):
            yield row + at, label
        row += len(piece.id)
