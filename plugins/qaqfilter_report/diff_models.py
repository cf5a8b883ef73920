"""The models behind two runs: whether they are the same, and what each cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from qaqfilter.finished import Finished
from qaqfilter.manifest import changed_keys


class Asked(NamedTuple):
    """What a model came to in one run: tokens computed, tokens the score store knew, seconds."""

    fingerprint: str
    tokens: int
    stored: int
    seconds: float


class ModelPair(NamedTuple):
    """A model by its name in the recipes; None where a run has none of that name.

    `changed` are its facts that differ, ``key: first -> second``.
    """

    name: str
    first: Asked | None
    second: Asked | None
    changed: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both runs got the same numbers for the same tokens."""
        return bool(
            self.first and self.second and self.first.fingerprint == self.second.fingerprint
        )


def models(first: Finished, second: Finished) -> Iterator[ModelPair]:
    """Every model of either run, those of the first run first."""
    for name in dict.fromkeys(model.name for run in (first, second) for model in run.models):
        facts = [[m.facts for m in run.models if m.name == name][-1:] for run in (first, second)]
        changed: tuple[str, ...] = ()
        if all(facts):
            recipes = ({"facts": dict(found[0]), "steps": []} for found in facts)
            changed = tuple(key.removeprefix("facts.") for key in changed_keys(*recipes))
        yield ModelPair(name, _asked(first, name), _asked(second, name), changed)


def _asked(run: Finished, name: str) -> Asked | None:
    """A model may have been asked several times, for one step after the other."""
    times = [model for model in run.models if model.name == name]
    if not times:
        return None
    cost = [model.cost for model in times]
    return Asked(
        times[-1].fingerprint,
        sum(one.computed for one in cost),
        sum(one.stored for one in cost),
        sum(model.seconds for model in times),
    )
