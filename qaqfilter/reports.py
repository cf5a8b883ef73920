"""The account of a run, and who may watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from qaqfilter.addresses import Address
from qaqfilter.costs import Cost


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What a step did with the records of one group."""

    name: str
    read: int
    kept: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did: `rejected` counts by reason; `groups`, if it has any, the largest first."""

    id: str
    use: str
    read: int
    kept: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    groups: tuple[GroupReport, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one worker of an executor did; `seconds` were spent inside its backend."""

    records: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a model cost: tokens, wall seconds from loading to the last number, its settings.

    `cost.seconds` is the part of `seconds` that was spent inside the backend. `tokenizer` is the
    same for models that cut text into the same tokens; empty where nobody has looked. `workers`
    did the work by their names; empty where this process did.
    """

    name: str
    records: int
    cost: Cost
    seconds: float
    batch_tokens: int
    fingerprint: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = ""
    workers: Mapping[str, WorkerReport] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Tokens computed a second, loading included."""
        return self.cost.computed / self.seconds if self.seconds > 0 else 0.0

    @property
    def outside(self) -> float:
        """The share of the time that was spent outside the backend."""
        return 1 - self.cost.seconds / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RunReport:
    """The account of a finished run: read == kept + rejected + quarantined.

    `quarantined` counts bad records, those too that the recipe said to skip. `folder` and `files`
    are addresses where `output.path` is one.
    """

    name: str
    folder: Path | Address
    read: int
    kept: int
    rejected: int
    quarantined: int
    duplicate_ids: int
    steps: tuple[StepReport, ...]
    models: tuple[ModelReport, ...]
    seconds: float
    files: Mapping[str, Path | Address]


class Observer(Protocol):
    """Watches a run (progress on a terminal, say)."""

    def started(self, label: str, records: int | None) -> None:
        """A stretch of work begins, over this many records where that is known."""
        ...

    def advanced(self, records: int, tokens: int) -> None:
        """So many more records are done, and so many tokens went through the model."""
        ...

    def finished(self) -> None:
        """The stretch of work is over."""
        ...

    def message(self, text: str) -> None:
        """Something the user should know."""
        ...
