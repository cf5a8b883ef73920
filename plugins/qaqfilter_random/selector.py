"""random = blake2b(seed, query, answer) / 2**64, cut to 53 bits: uniform in [0, 1).

The baseline that any selector must beat. Drawn from the record's text and not from its place, so
that order, earlier steps and sharding change nothing. Two records of the same text draw the same
number.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from pydantic import Field

from qaqfilter import Options, Record, RunSeed


class RandomOptions(Options):
    """Options of `random`."""

    seed: RunSeed = Field(description="Another seed, another draw; run.seed where not given.")


class Random:
    """Column: random, a pure number."""

    columns = ("random",)

    def __init__(self, config: RandomOptions) -> None:
        self.seed = config.seed

    def measure(self, record: Record) -> Mapping[str, float]:
        """Never null."""
        digest = blake2b(digest_size=8)
        for text in (str(self.seed), record.query, record.answer):
            # JSON may hold half a surrogate pair; it has bytes here too. The length before each
            # part keeps ("ab", "c") and ("a", "bc") apart.
            part = text.encode("utf-8", "surrogatepass")
            digest.update(len(part).to_bytes(8, "little") + part)
        # The top 53 bits: a float holds them exactly, so 1.0 cannot come out.
        return {"random": (int.from_bytes(digest.digest(), "little") >> 11) / 2**53}
