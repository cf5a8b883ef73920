"""Damaged copies of a sample's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from qaqfilter import Bools, Damage, Ints, PluginError, Record


@dataclass(frozen=True, slots=True)
class Copies:
    """Every damaged copy, one damage after the other; of a record at most one by each.

    Attributes
    ----------
    names: the damages.
    records: the copies; id and origin are those of the records they were made of.
    damage: of each copy, which of `names`.
    original: of each copy, which record of the sample.
    size: how many records the sample has.
    """

    names: tuple[str, ...]
    records: tuple[Record, ...]
    damage: Ints
    original: Ints
    size: int

    def rows(self) -> tuple[Ints, Bools]:
        """``[damages, size]``: which copy a record has of each damage, and whether it has one."""
        found = np.zeros((len(self.names), self.size), dtype=np.int64)
        there = np.zeros(found.shape, dtype=np.bool_)
        found[self.damage, self.original] = np.arange(len(self.records))
        there[self.damage, self.original] = True
        return found, there


def make_copies(records: Sequence[Record], damages: Mapping[str, Damage], seed: int) -> Copies:
    """Damage every record in every way.

    A copy depends on `seed`, the name of its damage, its place and the sample, and not on which
    other damages there are. Raises PluginError where a damage fails or gives no two texts.
    """
    made, kinds, originals = [], [], []
    for kind, (name, damage) in enumerate(damages.items()):
        for place, record in enumerate(records):
            rng = np.random.default_rng([seed, crc32(name.encode()), place])
            texts = _damaged(name, damage, records, place, rng)
            if texts is not None and texts != (record.query, record.answer):
                made.append(_copy(record, *texts))
                kinds.append(kind)
                originals.append(place)
    return Copies(
        tuple(damages),
        tuple(made),
        np.array(kinds, dtype=np.int64),
        np.array(originals, dtype=np.int64),
        len(records),
    )


def _damaged(
    name: str,
    damage: Damage,
    records: Sequence[Record],
    place: int,
    rng: np.random.Generator,
) -> tuple[str, str] | None:
    record = records[place]
    others = [*records[:place], *records[place + 1 :]]
    try:
        found = damage.damage(record, others, rng)
    except Exception as error:
        raise PluginError(
            f"damage {name!r} failed on the record at {record.origin}: "
            f"{type(error).__name__}: {error}; leave it out by naming others with --damage"
        ) from error
    if found is None:
        return None
    texts = tuple(found) if isinstance(found, tuple | list) else ()
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        raise PluginError(
            f"damage {name!r} gave {found!r:.80} for the record at {record.origin}; it has to give "
            "(query, answer), two texts, or None"
        )
    return texts[0], texts[1]


def _copy(record: Record, query: str, answer: str) -> Record:
    """What stands beside the two texts stays; the input a query ends with, as long as it does."""
    ends = query.endswith(f"\n{record.input}")
    return replace(record, query=query, answer=answer, input=record.input if ends else "")
