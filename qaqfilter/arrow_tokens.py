"""Tokens as arrow arrays: a list of float32 for each row, null where the likelihood is undefined.

Where records have several units, a list of such lists, one a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from qaqfilter.columns import Columns
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import Status

ENDING = ".logprobs"
"""What follows a likelihood's name, so that the file and `qaqfilter.score` say it alike."""


def token_arrays(
    columns: Columns, names: Iterable[str], first: int, end: int
) -> Iterator[tuple[str, Any]]:
    """Names and arrow arrays of likelihoods, for the rows from `first` to before `end`."""
    import pyarrow as pa

    starts = None if columns.units is None else columns.units.starts[first : end + 1]
    here = slice(first, end) if starts is None else slice(int(starts[0]), int(starts[-1]))
    # As it is read back, so that a copy is the same to the byte.
    numbers = pa.list_(pa.field("element", pa.float32()))
    for name in names:
        tokens = columns.tokens(name, here)
        ends = np.cumsum(np.concatenate([[0], tokens.lengths]))
        lists = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()),
            pa.array(np.asarray(tokens.joined())),
            type=numbers,
            mask=pa.array(columns.likelihoods[name].status[here] != Status.OK),
        )
        if starts is not None:
            lists = pa.ListArray.from_arrays(
                pa.array(starts - starts[0], pa.int32()),
                lists,
                type=pa.list_(pa.field("element", numbers)),
            )
        yield name + ENDING, lists


def put_token_array(columns: Columns, name: str, first: int, array: Any) -> None:
    """What `token_arrays` made of some rows, beginning with row `first`, into the columns.

    Raises ValueError where it is not of the likelihood that is there.
    """
    import pyarrow as pa

    rows = np.arange(first, first + len(array), dtype=np.int64)
    lists = array if columns.units is None else array.flatten()
    if not pa.types.is_list(lists.type) or lists.type.value_type != pa.float32():
        raise ValueError(f"{name}{ENDING} is of the kind {array.type}")
    lengths = np.asarray(lists.value_lengths().fill_null(0), dtype=np.int64)
    values = np.asarray(lists.flatten(), dtype=np.float32)
    entries = columns.entries(rows)
    column = columns.likelihood(name).take(entries)
    expected = np.where(column.status == Status.OK, column.tokens, 0)
    if not np.array_equal(lengths, expected):
        raise ValueError(f"{name}{ENDING} has not as many numbers as the likelihood has tokens")
    columns.put_tokens(name, entries, TokenLogprobs(values, np.cumsum(lengths) - lengths, lengths))
