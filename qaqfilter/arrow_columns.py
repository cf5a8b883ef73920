"""A run's columns as arrow arrays: null where a number is undefined or was not computed.

Where records have several units, a likelihood's columns hold lists, one item a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qaqfilter.columns import Columns
from qaqfilter.types import LikelihoodColumn, Status
from qaqfilter.units import Units

MISSING = [status.reason for status in Status]
"""Words of `.missing` by status; the first stands for null."""


def likelihood_arrays(columns: Columns, first: int, end: int) -> Iterator[tuple[str, Any]]:
    """Names and arrow arrays of all likelihoods, for the rows from `first` to before `end`."""
    import pyarrow as pa

    starts = None if columns.units is None else columns.units.starts[first : end + 1]
    here = slice(first, end) if starts is None else slice(starts[0], starts[-1])
    for name, column in columns.likelihoods.items():
        missing = column.status[here] != Status.OK
        arrays = {
            "logprob": pa.array(column.logprob[here], mask=missing),
            "tokens": pa.array(column.tokens[here], mask=missing),
            "missing": words(column.status[here], MISSING, ~missing),
        }
        for what, array in arrays.items():
            if starts is None:
                yield f"{name}.{what}", array
            else:
                ends = pa.array(starts - starts[0], pa.int32())
                yield f"{name}.{what}", pa.ListArray.from_arrays(ends, array)


def likelihood_column(read: Callable[[str], Any], name: str) -> LikelihoodColumn:
    """What `likelihood_arrays` wrote; `read` gives a column, chunked, by its name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def flat(what: str) -> Any:
        found = read(f"{name}.{what}")
        return pc.list_flatten(found) if pa.types.is_list(found.type) else found

    # Of nothing but nulls somebody else's table may say that they are nulls, and not words.
    status = pc.fill_null(pc.index_in(flat("missing").cast(pa.string()), pa.array(MISSING)), 0)
    return LikelihoodColumn(
        np.array(pc.fill_null(flat("logprob"), float("nan")), dtype=np.float64),
        np.array(pc.fill_null(flat("tokens"), 0), dtype=np.int32),
        np.array(status, dtype=np.int8),
    )


def units_of(tokens: Any) -> Units | None:
    """How many units the rows have, by a likelihood's column of `.tokens`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_list(tokens.type):
        return None
    return Units.of_counts(np.array(pc.list_value_length(tokens), dtype=np.int64))


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
