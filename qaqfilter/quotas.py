"""Quotas: how many records of each group a step keeps.

500                                     of each group the 500 best
{python: 500, rust: all, else: 0.1}     so many of these, a tenth of each other group
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from qaqfilter.groups import Group, find_word, shown
from qaqfilter.reports import GroupReport
from qaqfilter.types import Bools, Ints

ELSE = "else"
LISTED = 20
"""Groups that an account lists."""


def _limit(value: Any) -> Any:
    count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if count or value == "all" or (isinstance(value, float) and 0 < value < 1):
        return value
    raise ValueError(
        f"must be a count (0 or more), a share of the group between 0 and 1, or all "
        f"(got {value!r:.60})"
    )


def _says_of_the_rest(quota: dict[str, Limit]) -> dict[str, Limit]:
    if ELSE not in quota:
        raise ValueError(
            f"needs `{ELSE}`, for the groups that are not named here: 0 keeps none of them, "
            "all keeps them whole"
        )
    return quota


Limit = Annotated[
    Annotated[int, Field(strict=True, ge=0)]
    | Annotated[float, Field(strict=True, gt=0, lt=1)]
    | Literal["all"],
    BeforeValidator(_limit),
]
"""How many of a group: a count, a share, or all."""

# A tag, and no plain union: an error then is about the kind that was written.
Quota = Annotated[
    Annotated[Limit, Tag("of each")]
    | Annotated[dict[str, Limit], AfterValidator(_says_of_the_rest), Tag("by group")],
    Discriminator(lambda value: "by group" if isinstance(value, dict) else "of each"),
]


def count_of(limit: int | float | str, rows: int) -> int:
    """How many of `rows` records a limit lets through, exactly.

    A share is taken as it was written: 0.29 of 100 is 29, although the product of the floats is
    just below 29.
    """
    if isinstance(limit, str):
        return rows
    return int(Fraction(repr(limit)) * rows) if isinstance(limit, float) else limit


@dataclass(frozen=True, slots=True)
class Quotas:
    """A quota beside the groups that there are: `limits` has one entry for each word."""

    group: Group
    limits: Sequence[int | float | str]
    absent: Mapping[str, int | float | str]
    """Names in the quota that no record has."""

    @classmethod
    def of(cls, quota: int | float | str | Mapping[str, int | float | str], group: Group) -> Quotas:
        """Find out which group each name means."""
        if not isinstance(quota, Mapping):
            return cls(group, [quota] * len(group.words), {})
        limits = [quota[ELSE]] * len(group.words)
        absent = {}
        for name, limit in quota.items():
            at = None if name == ELSE else find_word(group.words, name)
            if at is not None:
                limits[at] = limit
            elif name != ELSE:
                absent[name] = limit
        return cls(group, limits, absent)

    def counts(self, counted: Bools) -> Ints:
        """The most records of each group, where shares are taken of the `counted` rows."""
        sizes = self.group.sizes(counted).tolist()
        found = [count_of(limit, size) for limit, size in zip(self.limits, sizes, strict=True)]
        return np.array(found, dtype=np.int64)

    def shortages(self, kept: Bools) -> Iterator[str]:
        """A line for each count that a group could not fill, and for each name without a group."""
        got = self.group.sizes(kept).tolist()
        for word, limit, count in zip(self.group.words, self.limits, got, strict=True):
            if isinstance(limit, int) and count < limit:
                yield f"{shown(word)}: {count} of {limit}"
        if self.absent:
            there = [shown(word) for word in self.group.words]
            more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
            for name in self.absent:
                yield f"{shown(name)}: no record is of this group"
            yield f"there are the groups: {', '.join(there[:LISTED]) or 'none'}{more}"


def group_reports(group: Group, kept: Bools) -> tuple[GroupReport, ...]:
    """What came in and was kept of each group: the largest first, the rest of many in one."""
    rows = zip(group.words, group.sizes().tolist(), group.sizes(kept).tolist(), strict=True)
    found = sorted(
        (GroupReport(shown(word), read, count) for word, read, count in rows),
        key=lambda one: (-one.read, one.name),
    )
    rest = found[LISTED:]
    if rest:
        name = f"{len(rest)} more"
        found[LISTED:] = [GroupReport(name, sum(r.read for r in rest), sum(r.kept for r in rest))]
    return tuple(found)
