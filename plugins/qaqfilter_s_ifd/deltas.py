"""By how much the query moves each token of the answer, some million tokens at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qaqfilter import Ints, QaqfilterError, Table


class Deltas:
    """loss(t | Q) - loss(t) of every answer token of the rows where both are defined."""

    def __init__(self, table: Table, model: str) -> None:
        columns = [table.likelihood(model, name) for name in ("answer", "answer_given_query")]
        defined = (columns[0].status == 0) & (columns[1].status == 0)
        self._rows = np.flatnonzero(defined)
        self._alone = table.token_logprobs(model, "answer").take(self._rows)
        self._given = table.token_logprobs(model, "answer_given_query").take(self._rows)
        other = self._alone.lengths != self._given.lengths
        if other.any():
            first = int(np.flatnonzero(other)[0])
            raise QaqfilterError(
                f"s_ifd compares the answer's tokens one by one, and in {int(other.sum())} records "
                f"they are not the same with the query and without ({self._given.lengths[first]} "
                f"and {self._alone.lengths[first]} in the first, row "
                f"{int(table.rows[self._rows[first]])} of the input): take a prompt that tokenises "
                "query and answer apart, as `plain` does"
            )
        self.total = int(self._alone.lengths.sum())

    def __iter__(self) -> Iterator[tuple[Ints, NDArray[np.float32], Ints]]:
        """Rows of the table, the values of their tokens in a row, and how many each has (> 0)."""
        for here in self._alone.stretches():
            alone, given = self._alone.take(here), self._given.take(here)
            yield self._rows[here], alone.joined() - given.joined(), alone.lengths
