"""How a model is run over windows of records, here or elsewhere.

Windows ─▶ Executor(Stage) ─▶ WindowScores
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from qaqfilter.costs import Cost
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import Ints, LikelihoodColumn, Origin, Window


class Nulls(NamedTuple):
    """Records of a window without a number, for a reason that may be the model's or the prompt's.

    `why` are its own words about the first of them, where it has any.
    """

    records: int
    first: Origin
    why: str = ""


class Killer(NamedTuple):
    """A record that kills whoever scores it: its row as it stands in the file, and how it did."""

    row: bytes
    why: str


@dataclass(frozen=True, slots=True)
class WindowScores:
    """What scoring one window gave: its rows, a column a likelihood, and what it cost.

    A column has `Record.units` entries for each record of the window, in order.
    `cut` holds how many tokens were cut off the end of each record's answer; `batch_tokens` and
    `facts` are those of the backend that computed it. `not_finite` are records with a likelihood
    that is NaN or infinite, `refused` those that the prompt cannot show. `tokens` has, for the
    likelihoods that were asked for in detail, as many rows as their column. `tokenizer` is the same
    for models that cut text into the same tokens (one_tokenizer.py). An executor may add `worker`,
    the name of who scored it, and `killers`, records whose likelihoods are left NOT_SCORED.
    """

    rows: Ints
    columns: Mapping[str, LikelihoodColumn]
    cut: Ints
    cost: Cost
    batch_tokens: int
    facts: Mapping[str, object]
    not_finite: Nulls | None = None
    refused: Nulls | None = None
    tokens: Mapping[str, TokenLogprobs] = field(default_factory=dict)
    tokenizer: str = ""
    worker: str = ""
    killers: Sequence[Killer] = ()

    @classmethod
    def joined(cls, pieces: Sequence[WindowScores]) -> WindowScores:
        """Of consecutive pieces of a window, at least one, those of the window."""
        if len(pieces) == 1:
            return pieces[0]
        # A piece that nobody scored knows nothing of the backend.
        scored = next((piece for piece in pieces if piece.facts), pieces[0])
        return cls(
            np.concatenate([piece.rows for piece in pieces]),
            {
                name: LikelihoodColumn(
                    np.concatenate([piece.columns[name].logprob for piece in pieces]),
                    np.concatenate([piece.columns[name].tokens for piece in pieces]),
                    np.concatenate([piece.columns[name].status for piece in pieces]),
                )
                for name in scored.columns
            },
            np.concatenate([piece.cut for piece in pieces]),
            sum((piece.cost for piece in pieces), Cost()),
            scored.batch_tokens,
            scored.facts,
            _nulls([piece.not_finite for piece in pieces]),
            _nulls([piece.refused for piece in pieces]),
            {
                name: TokenLogprobs.of([array for piece in pieces for array in piece.tokens[name]])
                for name in scored.tokens
            },
            scored.tokenizer,
            scored.worker,
            tuple(killer for piece in pieces for killer in piece.killers),
        )


def _nulls(found: Sequence[Nulls | None]) -> Nulls | None:
    there = [nulls for nulls in found if nulls is not None]
    return there[0]._replace(records=sum(nulls.records for nulls in there)) if there else None


class Readied(Protocol):
    """A window that is tokenised already; it can be pickled."""

    window: Window


class Stage(Protocol):
    """One model to be run over windows; `open` loads it, leaving the context frees it.

    What `open` gives yields one WindowScores a window, in order, and reads ahead. A stage of a run
    can be pickled; what is unpickled elsewhere finds plugins and model there. Only where it is
    opened in the run's own process does it call `progress` itself.
    """

    model: str

    @property
    def progress(self) -> Callable[[int, int], None]:
        """To be called with (records, tokens) that are done."""
        ...

    def open(
        self,
    ) -> AbstractContextManager[Callable[[Iterable[Window]], Iterator[WindowScores]]]: ...


@runtime_checkable
class Prepares(Stage, Protocol):
    """A stage that can do without its weights what comes before the model, as a run's can."""

    def open(
        self,
    ) -> AbstractContextManager[Callable[[Iterable[Window | Readied]], Iterator[WindowScores]]]:
        """As any stage; what it gives scores windows and what `preparing` made of them."""
        ...

    def preparing(self) -> AbstractContextManager[Callable[[Window], Readied]]:
        """What tokenises a window, for a machine without a GPU; the stage scores what it gives."""
        ...

    def skipped(self, window: Window, why: str) -> WindowScores:
        """What stands for records that kill whoever scores them."""
        ...


class Shared(Protocol):
    """What all ranges have in common; it can be pickled, and travels once."""

    def windows(self, part: Any) -> Iterator[Window]:
        """The windows of a range, read where this is called. Raises SourceError."""
        ...


class Divided(NamedTuple):
    """Windows in ranges of consecutive ones, which can be pickled; together they are all.

    `windows` is how many they are.
    """

    shared: Shared
    ranges: Sequence[object]
    windows: int


@runtime_checkable
class Divisible(Protocol):
    """Windows of which the reading can be shared, as those of a run over files.

    What is not divisible is in this process alone (a sample, records in memory): score it here.
    """

    def divided(self) -> Divided: ...


class Travels(Protocol):
    """What is known of a run before anything is read; it can be pickled."""

    @property
    def models(self) -> Sequence[str]:
        """Names of the recipe's models."""
        ...

    def problems(self) -> Sequence[str]:
        """What the machine lacks for the run where this is called: plugins, models, files."""
        ...


class Executor(Protocol):
    """Runs a stage over windows. The answer must not depend on how the work is spread."""

    def score(self, stage: Stage, windows: Iterable[Window]) -> Iterator[WindowScores]:
        """Yield one WindowScores a window, in any order."""
        ...


@runtime_checkable
class Starts(Protocol):
    """An executor that has something to start for a run, and to check before it."""

    def start(
        self, run: Travels | None, tell: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """Hold what `score` needs until the run is over. `run` is None where nothing can travel.

        `tell` gets sentences for the user. Raises a QaqfilterError where the run could not end.
        """
        ...


@runtime_checkable
class ScoresTogether(Protocol):
    """An executor that can run several stages over the same windows at once."""

    def score_together(
        self, stages: Sequence[Stage], windows: Iterable[Window]
    ) -> Iterator[tuple[int, WindowScores]]:
        """Yield, for each window and each stage, the stage's index and a WindowScores."""
        ...
