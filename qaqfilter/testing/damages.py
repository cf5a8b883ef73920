"""The contract of damages: a copy that is worse, the same for the same seed, and nothing else."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from qaqfilter.damages import Damage
from qaqfilter.protocols import Component
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.rules import rule
from qaqfilter.testing.samples import conversation, many_records
from qaqfilter.types import Record

HOOK = "qaqfilter_damages"

Copies = list[tuple[str, str] | None]


class DamageContract(ComponentContract):
    """Override `component`, and `records` where a damage is for records of another kind."""

    @pytest.fixture
    def damage(self, component: Component[Any], config: Any) -> Damage:
        """The damage under test."""
        made: Damage = component.create(config)
        return made

    @pytest.fixture
    def records(self) -> list[Record]:
        """What it is tried on; at least one of them can be spoilt."""
        return [*many_records(), conversation()]

    @rule(HOOK)
    def test_something_is_spoilt(self, damage: Damage, records: list[Record]) -> None:
        """`damage` gives query and answer of a copy that says something else, where it can."""
        worse = [
            copy
            for one, copy in zip(records, _copies(damage, records), strict=True)
            if copy is not None and copy != (one.query, one.answer)
        ]
        assert worse, "no record was spoilt"

    @rule(HOOK)
    def test_a_copy_is_two_texts_or_none(self, damage: Damage, records: list[Record]) -> None:
        """A copy is `(query, answer)`, two texts; None stands for a record that cannot be spoilt
        so.
        """
        for one, copy in zip(records, _copies(damage, records), strict=True):
            right = isinstance(copy, tuple) and [type(text) for text in copy] == [str, str]
            assert copy is None or right, f"{copy!r:.80} of {one.query!r:.40}"

    @rule(HOOK)
    def test_the_same_seed_gives_the_same_copy(
        self, component: Component[Any], config: Any, damage: Damage, records: list[Record]
    ) -> None:
        """The same seed, the same copies: at every call, in any order, from another damage."""
        first = _copies(damage, records)
        _same(first, _copies(damage, records, backwards=True), "in another order")
        _same(first, _copies(component.create(config), records), "by another of the same kind")

    @rule(HOOK)
    def test_all_chance_comes_from_rng(self, damage: Damage, records: list[Record]) -> None:
        """All chance comes from `rng`: no other generator is asked, and none is seeded."""
        before = _generators()
        random.seed(20)
        np.random.seed(20)
        try:
            fresh = _generators()
            _copies(damage, records)
            used = [name for name, state in _generators().items() if state != fresh[name]]
        finally:
            random.setstate(before["random"])
            np.random.set_state(before["numpy.random"])
        assert not used, f"the generator of {' and of '.join(used)} was used"

    @rule(HOOK)
    def test_records_stay_as_they_were(self, damage: Damage, records: list[Record]) -> None:
        """The record and the others are shown, not given: a damage changes neither."""
        before = deepcopy(records)
        _copies(damage, records)
        changed = [one.id for one, two in zip(before, records, strict=True) if one != two]
        assert not changed, f"changed: {', '.join(changed)}"
        size = f"{len(records)} records, which were {len(before)}"
        assert len(records) == len(before), size

    @rule(HOOK)
    def test_there_may_be_no_others(self, damage: Damage, records: list[Record]) -> None:
        """`others` may be empty: then a damage that needs them gives None."""
        for one in records:
            damage.damage(one, [], np.random.default_rng(0))


def _generators() -> dict[str, Any]:
    """The states of the generators that belong to nobody."""
    legacy: Any = np.random.get_state(legacy=True)
    kind, keys, *rest = legacy
    return {"random": random.getstate(), "numpy.random": (kind, keys.tolist(), *rest)}


def _copies(damage: Damage, records: list[Record], *, backwards: bool = False) -> Copies:
    """A copy of each, by the generator that its place would give it."""
    places = range(len(records))
    copies: Copies = [None for _ in places]
    for place in reversed(places) if backwards else places:
        others = records[:place] + records[place + 1 :]
        copies[place] = damage.damage(records[place], others, np.random.default_rng((5, place)))
    return copies


def _same(one: Copies, two: Copies, where: str) -> None:
    for place, (here, there) in enumerate(zip(one, two, strict=True)):
        assert here == there, f"record {place}, {where}: {there!r:.200} instead of {here!r:.200}"
