"""What a selector must be able to do: implement `Selector`, and of the others what it does.

A selector has `score` (Scores), `measure` (Measures), or both; the rest is optional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from qaqfilter.table import Table
from qaqfilter.types import Decisions, Floats, Record


class Need(NamedTuple):
    """A likelihood that a selector wants: `model` is the recipe's name for a model."""

    model: str
    likelihood: str


class Paper(NamedTuple):
    """Where a method was published: a short name for it, and an address that stays."""

    name: str
    url: str


class Selector(Protocol):
    """The base of every selector: the names of its columns, the one that `keep` judges first.

    A selector also has `score` (Scores), `measure` (Measures), or both.
    """

    @property
    def columns(self) -> Sequence[str]: ...


@runtime_checkable
class Scores(Protocol):
    """A selector that computes its columns from numbers, whole columns at a time."""

    @property
    def needs(self) -> Sequence[Need]: ...

    def score(self, table: Table) -> Mapping[str, Floats]:
        """Columns of ``len(table)`` float64; NaN where undefined."""
        ...


@runtime_checkable
class WantsTokens(Protocol):
    """A selector that computes from each token by itself: ``table.token_logprobs`` has them.

    `token_needs` are those of its `needs` that it wants so. They are kept on disk, not in memory,
    and take some hundred times the room of a sum.
    """

    @property
    def token_needs(self) -> Sequence[Need]: ...


@runtime_checkable
class OneTokenizer(Protocol):
    """A selector that compares numbers of models token by token: of one tokenizer, or refused."""

    @property
    def one_tokenizer(self) -> Sequence[str]: ...


@runtime_checkable
class Measures(Protocol):
    """A selector that takes numbers from the text of one record alone."""

    def measure(self, record: Record) -> Mapping[str, float | str | None]:
        """Numbers by name; NaN where undefined. Without `score` these are the columns."""
        ...


@runtime_checkable
class Labels(Protocol):
    """A selector whose `measure` gives words too, by the names in `labels`, for `group` to name."""

    @property
    def labels(self) -> Sequence[str]: ...


@runtime_checkable
class Packs(Protocol):
    """A selector whose `measure` also gives numbers that mean nothing to anybody but itself.

    `packed` are their names, each of which begins with an underscore (`packing.packed_names`).
    They stand in scores.parquet, so that a selection can decide without the text; they are not
    shown, and no other step sees them.
    """

    @property
    def packed(self) -> Sequence[str]: ...


@runtime_checkable
class Decides(Protocol):
    """A selector that decides itself, where the keep vocabulary cannot say it."""

    def decide(self, table: Table) -> Decisions:
        """Called after `score`, with the columns that it gave; the recipe's `keep` is refused."""
        ...


@runtime_checkable
class Cites(Protocol):
    """A selector whose method was published; the data card of a run names its papers.

    An attribute of the object and not of its Component: which paper it is may depend on options.
    """

    @property
    def papers(self) -> Sequence[Paper]: ...
