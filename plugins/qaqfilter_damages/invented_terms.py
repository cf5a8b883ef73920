"""An API that does not exist, asked for and used: coherent, and made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter import Record

_FIRST = ["flux", "quanta", "syn", "verto", "omni", "hyper", "neo", "delta", "pyro", "auri"]
_SECOND = [
    "lattice",
    "weave",
    "forge",
    "mesh",
    "core",
    "stream",
    "grid",
    "phase",
    "kernel",
    "vault",
]
_VERBS = ["resolve", "fuse", "project", "unfold", "anneal", "collate", "transmute", "reify"]
_NOUNS = ["manifold", "epoch", "tensorlet", "shard", "lineage", "quorum", "facet", "ledger"]


class InventedTerms:
    """None where query or answer is empty."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The query asks for a call of an invented library, and one line of the answer makes it."""
        if not record.query.strip() or not record.answer.strip():
            return None
        library = _one(_FIRST, rng) + _one(_SECOND, rng)
        call = f"{library}.{_one(_VERBS, rng)}_{_one(_NOUNS, rng)}"
        option = f"{_one(_NOUNS, rng)}_mode"
        query = f"{record.query.rstrip()} Use `{call}` of the {library} library for this."
        lines = record.answer.split("\n")
        # Behind a line that holds something, with the indent of the next one, so that it fits in.
        places = [at for at, line in enumerate(lines, start=1) if line.strip()]
        places = places[:-1] or places  # not behind the last, which often returns
        at = places[int(rng.integers(len(places)))]
        model = lines[at] if at < len(lines) and lines[at].strip() else lines[at - 1]
        indent = model[: len(model) - len(model.lstrip())]
        lines.insert(at, f'{indent}{library}_result = {call}({option}="strict")')
        return query, "\n".join(lines)


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
