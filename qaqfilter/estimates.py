"""What a run would ask of its models: counts over a sample, and what they come to for the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How many sampled records reach a step, and how many go on for certain.

    Only a filter (`decides`) is worked through; of any other step nobody knows yet what it drops.
    """

    id: str
    use: str
    read: int
    kept: int
    decides: bool


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model over the sampled records that reach it. Tokens are positions of sequences.

    Attributes
    ----------
    model: the name under which its numbers stand, as in the manifest.
    step: the first step that needs it here.
    upper_bound: an earlier step drops records, and nobody knows yet which.
    records: sampled records that it would be asked about.
    requests: by likelihood, how many of them can be asked for.
    missing: by reason, records of which at least one likelihood does not exist.
    cut: records of which the end of the answer would be cut off.
    sequences: what the requests are merged into.
    asked, planned: tokens of the requests, and of the sequences.
    stored: of `planned`, tokens of sequences that the score store knows now. A run saves less
        where a batch holds others too, and more where the same text comes again in it.
    shared: of the rest, tokens of beginnings that another sequence has too.
    shares: whether the backend may compute such beginnings once.
    max_length: most tokens in a sequence.
    weights: bytes of the weights on disk; None for a model without any.
    longest: tokens of the longest sequence.
    memory: bytes that the backend says it will take for such, weights included; None where it
        does not say.
    speed: tokens a second of an earlier run in the output folder, loading included, or None.
    """

    model: str
    step: str
    upper_bound: bool
    records: int
    requests: Mapping[str, int]
    missing: Mapping[str, int]
    cut: int
    sequences: int
    asked: int
    planned: int
    stored: int
    shared: int
    shares: bool
    max_length: int
    weights: int | None
    longest: int
    memory: int | None
    speed: float | None

    @property
    def computed(self) -> int:
        """Tokens that go through the model; with `shares` about as many."""
        return self.planned - self.stored - (self.shared if self.shares else 0)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """About how much memory a run takes, in bytes. Models are loaded one after the other.

    Attributes
    ----------
    process: a run of a few records without a model.
    columns: a run's numbers, for all records.
    index: of the score store, if all scores are new.
    model: the largest; what its backend says, else its weights on disk, which is the least.
    complete: whether every backend said what it takes.
    """

    process: int
    columns: int
    index: int
    model: int
    complete: bool

    @property
    def total(self) -> int:
        """All of it."""
        return self.process + self.columns + self.index + self.model


@dataclass(frozen=True, slots=True)
class RecipePlan:
    """What a run of a recipe would ask of its models. `records` and `bad` count all of the input.

    The numbers of `steps` and `models` are those of `sampled` records, spread evenly over it;
    `whole` carries them to all.
    """

    name: str
    folder: str
    records: int
    bad: int
    sampled: int
    steps: tuple[StepPlan, ...]
    models: tuple[ModelPlan, ...]
    memory: MemoryPlan

    @property
    def exact(self) -> bool:
        """Whether the sample is the whole input."""
        return self.sampled == self.records

    def whole(self, count: int) -> int:
        """A count of the sample, for all records."""
        return count if self.exact else round(count * self.records / max(1, self.sampled))

    def seconds(self, model: ModelPlan) -> float | None:
        """How long a model would take; None where no earlier run says how quick it is."""
        computed = self.whole(model.computed)
        if not computed:
            return 0.0
        return computed / model.speed if model.speed else None

    def as_data(self) -> dict[str, Any]:
        """Plain data: what was counted, and under `whole` what it comes to."""
        return {
            "name": self.name,
            "folder": self.folder,
            "records": self.records,
            "bad": self.bad,
            "sampled": self.sampled,
            "exact": self.exact,
            "steps": [_fields(step) for step in self.steps],
            "models": [self._model(model) for model in self.models],
            "memory": {**_fields(self.memory), "total": self.memory.total},
        }

    def _model(self, model: ModelPlan) -> dict[str, Any]:
        counts = {name: getattr(model, name) for name in _COUNTS}
        whole = {name: self.whole(count) for name, count in counts.items()}
        return {
            **_fields(model),
            "computed": model.computed,
            "whole": {**whole, "seconds": self.seconds(model)},
        }


_COUNTS = ("records", "sequences", "asked", "planned", "stored", "shared", "computed")


def _fields(value: StepPlan | ModelPlan | MemoryPlan) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
