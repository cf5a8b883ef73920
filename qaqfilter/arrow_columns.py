"""A run's columns as arrow arrays: null where a number is undefined or was not computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qaqfilter.columns import Columns
from qaqfilter.types import Status

MISSING = [status.reason for status in Status]
"""Words of `.missing` by status; the first stands for null."""


def likelihood_arrays(columns: Columns, here: slice) -> Iterator[tuple[str, Any]]:
    """Names and arrow arrays of all likelihoods, for some rows."""
    import pyarrow as pa

    for name, column in columns.likelihoods.items():
        missing = column.status[here] != Status.OK
        yield f"{name}.logprob", pa.array(column.logprob[here], mask=missing)
        yield f"{name}.tokens", pa.array(column.tokens[here], mask=missing)
        yield f"{name}.missing", words(column.status[here], MISSING, ~missing)


def number_arrays(columns: Columns, here: slice) -> Iterator[tuple[str, Any]]:
    """Names and arrow arrays of all columns of steps, for some rows."""
    import pyarrow as pa

    for name, values in columns.numbers.items():
        yield name, pa.array(values[here], mask=np.isnan(values[here]))


def words(codes: NDArray[Any], words: list[Any], null: NDArray[np.bool_]) -> Any:
    """Codes into words as an arrow array of text."""
    import pyarrow as pa

    used, short = np.unique(np.where(null, 0, codes), return_inverse=True)
    of_these = pa.array([words[code] for code in used.tolist()] if words else [None], pa.string())
    coded = pa.array(short.astype(np.int32), mask=null)
    return pa.DictionaryArray.from_arrays(coded, of_these).dictionary_decode()
