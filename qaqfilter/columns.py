"""A run's numbers: columns as long as the stream, and nothing of the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from qaqfilter.groups import Group
from qaqfilter.packing import is_packed
from qaqfilter.table import Table
from qaqfilter.token_spool import TokenSpool
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import Bools, Floats, Ints, LikelihoodColumn, Status, read_only
from qaqfilter.units import Combine, Units, pooled


@dataclass(slots=True)
class Measured:
    """Of which rows a step has seen the text, and the numbers that it took from them."""

    rows: Bools
    names: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Columns:
    """`size` rows of everything that is known.

    Attributes
    ----------
    units: which entries of the likelihoods are a record's; None where every record has one.
    likelihoods: by ``<view>.<likelihood>``; a view is a model, or a model asked by a step's own
        prompt.
    numbers: by ``<step>.<column>``, NaN where undefined or not computed.
    groups: by ``<step>.group``, the field by which it ranks, or ``<step>.<label>``.
    measured: by step, what its selector has taken from the text.
    starts: for likelihoods that were asked for in detail, where in the spool the tokens of each
        entry begin.
    """

    size: int
    likelihoods: dict[str, LikelihoodColumn] = field(default_factory=dict)
    numbers: dict[str, Floats] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    units: Units | None = None
    starts: dict[str, Ints] = field(default_factory=dict)
    spool: TokenSpool = field(default_factory=TokenSpool)

    def number(self, name: str) -> Floats:
        """A column of numbers, made where there is none yet."""
        if name not in self.numbers:
            self.numbers[name] = np.full(self.size, np.nan)
        return self.numbers[name]

    def group(self, name: str) -> Group:
        """A column of words, made where there is none yet."""
        return self.groups.setdefault(name, Group.empty(self.size))

    def put(self, name: str, rows: Ints, values: Floats) -> None:
        """Overwrite some rows of a column of numbers."""
        if len(rows) == self.size:
            self.numbers[name] = values
        else:
            self.number(name)[rows] = values

    def likelihood(self, name: str) -> LikelihoodColumn:
        """A likelihood's column, made where there is none yet."""
        if name not in self.likelihoods:
            entries = self.size if self.units is None else self.units.total
            self.likelihoods[name] = LikelihoodColumn.empty(entries)
        return self.likelihoods[name]

    def put_tokens(self, name: str, entries: Ints, tokens: TokenLogprobs) -> None:
        """Keep the tokens of some entries of a likelihood, in any order of windows."""
        if name not in self.starts:
            self.starts[name] = np.zeros(len(self.likelihood(name).status), dtype=np.int64)
        joined = tokens.joined()
        before = np.cumsum(tokens.lengths) - tokens.lengths
        self.starts[name][entries] = self.spool.append(joined) + before

    def tokens(self, name: str, here: Ints | slice) -> TokenLogprobs:
        """The tokens of some entries of a likelihood, none of an entry that is undefined."""
        column = self.likelihoods[name]
        lengths = np.where(column.status[here] == Status.OK, column.tokens[here], 0)
        lengths = lengths.astype(np.int64)
        starts = self.starts[name][here] if name in self.starts else np.zeros_like(lengths)
        return TokenLogprobs(self.spool.values(), starts, lengths)

    def entries(self, rows: Ints) -> Ints:
        """Which entries of a likelihood's column are those of `rows`."""
        return rows if self.units is None else self.units.entries(rows)

    def pooled(self, name: str) -> LikelihoodColumn:
        """A likelihood with one entry a record, that of all its units together."""
        column = self.likelihood(name)
        return column if self.units is None else pooled(column, np.diff(self.units.starts))

    def unscored(self, name: str, rows: Ints) -> Ints:
        """Those of `rows` for which a likelihood was never asked."""
        # A record's units are scored together, so the first tells of all.
        first = rows if self.units is None else self.units.starts[rows]
        left: Ints = rows[self.likelihood(name).status[first] == Status.NOT_SCORED]
        return left

    def unmeasured(self, step: str, rows: Ints) -> Ints:
        """Those of `rows` whose text a step has not seen."""
        left: Ints = rows[~self.measured[step].rows[rows]] if step in self.measured else rows
        return left

    def table(self, step: str, rows: Ints, needs: Sequence[tuple[str, str]]) -> Table:
        """The rows as a step sees them: its own columns under their bare names too.

        `needs` are pairs of a likelihood's name in the step and its name here.
        """
        # Where nothing is gone yet, the columns themselves and no copies: half the memory.
        here = slice(None) if len(rows) == self.size else rows
        likelihoods = self._likelihoods(rows, needs)
        if self.units is not None:
            counts = self.units.counts(rows)
            likelihoods = {name: pooled(column, counts) for name, column in likelihoods.items()}
        numbers = {name: read_only(values[here]) for name, values in self._seen_by(step)}
        return Table(read_only(rows), likelihoods, _bare(step, numbers) | numbers)

    def unit_table(
        self, step: str, rows: Ints, needs: Sequence[tuple[str, str]], how: Combine
    ) -> Table:
        """The same with a row for each unit, `how` being how they are combined."""
        if self.units is None:
            table = self.table(step, rows, needs)
            table.tokens = self._tokens(rows, needs)
            return table
        counts = self.units.counts(rows)
        numbers = {
            name: read_only(np.repeat(values[rows], counts)) for name, values in self._seen_by(step)
        }
        return Table(
            read_only(np.repeat(rows, counts)),
            self._likelihoods(rows, needs),
            _bare(step, numbers) | numbers,
            counts=counts,
            how=how,
            tokens=self._tokens(rows, needs),
        )

    def _seen_by(self, step: str) -> Iterator[tuple[str, Floats]]:
        """All numbers but what other steps have packed: copies of that are large, and no use."""
        for name, values in self.numbers.items():
            if not is_packed(name) or name.startswith(f"{step}."):
                yield name, values

    def _likelihoods(
        self, rows: Ints, needs: Sequence[tuple[str, str]]
    ) -> dict[str, LikelihoodColumn]:
        here = self._here(rows)
        return {name: self.likelihoods[stored].take(here) for name, stored in needs}

    def _tokens(self, rows: Ints, needs: Sequence[tuple[str, str]]) -> dict[str, TokenLogprobs]:
        here = self._here(rows)
        return {
            name: self.tokens(stored, here)
            for name, stored in needs
            # Where nothing is defined there is nothing to miss.
            if stored in self.starts or (self.likelihoods[stored].status[here] != Status.OK).all()
        }

    def _here(self, rows: Ints) -> Ints | slice:
        return slice(None) if len(rows) == self.size else self.entries(rows)


def _bare(step: str, numbers: dict[str, Floats]) -> dict[str, Floats]:
    """A step's own columns, by their bare names."""
    own = f"{step}."
    return {k.removeprefix(own): v for k, v in numbers.items() if k.startswith(own)}
