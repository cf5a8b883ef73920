"""The account of a run, and who may watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did: `rejected` counts by reason."""

    id: str
    use: str
    read: int
    kept: int
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a model cost: tokens through it, wall seconds, and the fingerprint of its facts."""

    name: str
    records: int
    tokens: int
    seconds: float
    fingerprint: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """The account of a finished run: read == kept + rejected + quarantined."""

    name: str
    folder: Path
    read: int
    kept: int
    rejected: int
    quarantined: int
    duplicate_ids: int
    steps: tuple[StepReport, ...]
    models: tuple[ModelReport, ...]
    seconds: float
    files: Mapping[str, Path]


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
