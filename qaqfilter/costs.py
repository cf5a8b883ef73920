"""What scoring costs, and what merging and sharing save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Work(NamedTuple):
    """What a backend has done, in tokens (positions of sequences).

    `computed` went through the model; `reused` did not have to, since an earlier sequence began
    in the same way; `padding` stands for nothing, and was computed to fill a batch.
    """

    computed: int = 0
    reused: int = 0
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens are positions of sequences, start tokens included; seconds are wall time.

    Attributes
    ----------
    asked: tokens, had every likelihood been computed in a sequence of its own.
    planned: tokens of the sequences that the likelihoods were merged into.
    computed: tokens that went through the model (the last of a sequence need not).
    stored: tokens of sequences whose likelihoods had been computed before.
    reused: tokens that did not, since another sequence began in the same way.
    padding: positions that stood for nothing, computed to fill a batch.
    seconds: spent inside the backend, loading included.
    """

    asked: int = 0
    planned: int = 0
    computed: int = 0
    stored: int = 0
    reused: int = 0
    padding: int = 0
    seconds: float = 0.0

    @property
    def merged(self) -> int:
        """Tokens saved by merging requests into shared sequences."""
        return self.asked - self.planned

    @property
    def waste(self) -> float:
        """Padding as a share of all positions computed."""
        return self.padding / max(1, self.computed + self.padding)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.asked + other.asked,
            self.planned + other.planned,
            self.computed + other.computed,
            self.stored + other.stored,
            self.reused + other.reused,
            self.padding + other.padding,
            self.seconds + other.seconds,
        )
