"""Names misspelt at some of their places, so that the code no longer fits itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter import Record
from qaqfilter_damages.identifiers import WORD, names

MOST = 3
"""Names that are touched."""


class CorruptedIdentifiers:
    """None where no name stands twice."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """Of up to three names each place behind the first is misspelt, always in one way."""
        chosen = names(record.answer)[:MOST]
        if not chosen:
            return None
        wrong = {name: _misspelt(name, rng) for name in chosen}
        seen: set[str] = set()

        def put(word: str) -> str:
            if word not in wrong:
                return word
            first = word not in seen
            seen.add(word)
            return word if first else wrong[word]

        return record.query, WORD.sub(lambda match: put(match[0]), record.answer)


def _misspelt(name: str, rng: np.random.Generator) -> str:
    """Two letters swapped, one left out or one doubled: never the name itself."""
    swaps = [at for at in range(len(name) - 1) if name[at] != name[at + 1]]
    at = int(rng.integers(1, len(name)))
    kind = int(rng.integers(3))
    if kind == 0 and swaps:
        at = swaps[int(rng.integers(len(swaps)))]
        swapped = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
        if not swapped[0].isdigit():
            return swapped
    if kind == 1:
        return name[:at] + name[at + 1 :]
    return name[:at] + name[at] + name[at:]
