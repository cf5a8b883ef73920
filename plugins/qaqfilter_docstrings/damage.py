"""Known defects, planted on purpose, to see what a filter catches.

swapped   the answer of another record
echoed    the query in place of the answer
cut       the first fifth of the answer
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from qaqfilter import Options


class Damage(Options):
    """How many records to damage in each way; the field `damage` of a record tells which."""

    swapped: int = Field(0, ge=0, description="Give so many records one another's answers.")
    echoed: int = Field(0, ge=0, description="Put the query in place of so many answers.")
    cut: int = Field(0, ge=0, description="Keep only the first fifth of so many answers.")

    @field_validator("swapped")
    @classmethod
    def _not_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one record has nobody to swap with: 0, or 2 and more")
        return value

    @property
    def total(self) -> int:
        """How many records are damaged in all."""
        return self.swapped + self.echoed + self.cut


def damaged(
    damage: Damage, order: Sequence[int], queries: Sequence[str], answers: Sequence[str]
) -> dict[int, tuple[str, str]]:
    """Position -> (what was done, the new answer), for the first positions of `order`."""
    places = iter(order)
    ring = [next(places) for _ in range(damage.swapped)]
    # Each takes the next one's answer: nobody keeps its own.
    done = {
        n: ("swapped", answers[other]) for n, other in zip(ring, ring[1:] + ring[:1], strict=True)
    }
    for _ in range(damage.echoed):
        n = next(places)
        done[n] = ("echoed", queries[n])
    for _ in range(damage.cut):
        n = next(places)
        done[n] = ("cut", answers[n][: max(1, len(answers[n]) // 5)])
    return done
