"""What a selector sees of the records that reach its step: numbers, no text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np

from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import Floats, Ints, LikelihoodColumn
from qaqfilter.units import Combine, combined

T = TypeVar("T")


class Table:
    """The numbers of the records that reach a step; text is not in it.

    `rows` are positions in the stream, ascending. `likelihoods` maps ``<model>.<likelihood>``
    to columns, `columns` maps ``<step>.<column>`` to float64 arrays with NaN for null; a
    selector also finds what its own `measure` returned there, under the bare name.

    With ``turns: each`` a record may have several rows, which follow one another: one for each
    exchange of its conversation. `counts` says how many each record has, and is None where all
    have one; `how` is the step's `combine`. `tokens` has the likelihoods that were asked for in
    detail, by the same names.
    """

    __slots__ = ("_counts", "_how", "columns", "likelihoods", "rows", "tokens")

    def __init__(
        self,
        rows: Ints,
        likelihoods: Mapping[str, LikelihoodColumn] | None = None,
        columns: Mapping[str, Floats] | None = None,
        *,
        counts: Ints | None = None,
        how: Combine = "mean",
        tokens: Mapping[str, TokenLogprobs] | None = None,
    ) -> None:
        self.rows = rows
        self.likelihoods = dict(likelihoods or {})
        self.columns = dict(columns or {})
        self.tokens = dict(tokens or {})
        self._counts = counts
        self._how: Combine = how

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        yield from self.likelihoods
        yield from self.columns

    def likelihood(self, model: str, name: str) -> LikelihoodColumn:
        """The column ``<model>.<name>``; KeyError lists what there is."""
        return self._find(self.likelihoods, f"{model}.{name}")

    def nll(self, model: str, name: str) -> Floats:
        """Mean negative log-likelihood of one likelihood, nats per token; NaN for null."""
        return self.likelihood(model, name).nll

    def token_logprobs(self, model: str, name: str) -> TokenLogprobs:
        """One likelihood token by token, as many numbers a row as its column has `tokens`.

        For a selector that has it in `token_needs`; else KeyError.
        """
        return self._find(self.tokens, f"{model}.{name}")

    def column(self, name: str) -> Floats:
        """A column ``<step>.<column>``, or a measured one by its own name."""
        return self._find(self.columns, name)

    @property
    def records(self) -> int:
        """How many records the rows are of."""
        return len(self.rows) if self._counts is None else len(self._counts)

    def combine(self, values: Floats) -> Floats:
        """A value for each record from one for each row; null where one of its rows is.

        For a selector that compares records with one another, with ranks or bins: records are to
        be compared, and not exchanges. Others may return a value a row, and need not care.
        """
        if self._counts is None:
            return values
        return combined(np.asarray(values, dtype=np.float64), self._counts, self._how)

    @staticmethod
    def _find(columns: Mapping[str, T], name: str) -> T:
        try:
            return columns[name]
        except KeyError:
            raise KeyError(
                f"no column {name!r}; there are: {', '.join(columns) or 'none'}"
            ) from None
