"""The one keep vocabulary: which rows of a step's table stay, said the same way for every selector.

    nulls out ─▶ bounds (min, above, max, below) ─▶ rank ─▶ top, fraction or quota ─▶ invert

docs/methods.md says the same at length, for users.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from qaqfilter.options import Options
from qaqfilter.quotas import Quota, Quotas, count_of
from qaqfilter.ranking import equal_count_bins, fractional_ranks
from qaqfilter.types import Bools, Decisions, Floats, Ints

BOUNDS = ("min", "above", "max", "below")
RULES = (*BOUNDS, "rank", "top", "fraction", "quota", "invert")
COUNTS = ("top", "fraction", "quota")
"""Reasons that a rule gives, in the order in which they are tried."""

# Strict: `min: true` and `min: "8"` are slips of the pen, not numbers.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class Keep(Options):
    """Which records a step keeps. Rules combine; a record without a score is never kept."""

    min: Number | None = Field(None, description="Keep scores of this much or more.")
    max: Number | None = Field(None, description="Keep scores of this much or less.")
    above: Number | None = Field(None, description="Keep scores strictly above this.")
    below: Number | None = Field(None, description="Keep scores strictly below this.")
    top: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        None, description="Keep this many records, the highest scores."
    )
    fraction: Annotated[float, Field(strict=True, gt=0, le=1)] | None = Field(
        None, description="Keep this share of the records, the highest scores; rounded down."
    )
    quota: Quota | None = Field(
        None,
        description="Keep so many of each `group`, the highest scores of each: a count, a share "
        "below 1, or `all`; one for every group, or `{value: ..., else: ...}`.",
    )
    rank: tuple[Share, Share] | None = Field(
        None,
        description="[lo, hi]: keep fractional ranks from lo (inclusive) to hi (exclusive); "
        "0 is the lowest score, 1 the highest, and a hi of 1 includes it.",
    )
    invert: bool = Field(False, description="Keep what the rules reject, and the other way round.")
    of: Literal["survivors", "input"] = Field(
        "survivors",
        description="What rank, fraction and shares are taken of: the records that pass the "
        "bounds, or all that reach the step.",
    )

    @property
    def per_record(self) -> bool:
        """Whether a record's fate depends on its own score alone."""
        return all(getattr(self, name) is None for name in ("rank", *COUNTS))

    @model_validator(mode="after")
    def _rules_make_sense(self) -> Self:
        bounds = [name for name in BOUNDS if getattr(self, name) is not None]
        if self.per_record and not bounds:
            raise ValueError(
                "keep has no rule: give min, max, above, below, rank, top, fraction or quota "
                "(or leave keep out: the step then only scores)"
            )
        for one, other in (("min", "above"), ("max", "below"), *combinations(COUNTS, 2)):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} exclude each other: give one of them")
        self._check_bounds()
        if self.rank is not None and self.rank[0] >= self.rank[1]:
            raise ValueError(
                f"rank: [lo, hi] needs lo below hi, not {list(self.rank)}; "
                "the lowest scores have rank 0, the highest rank 1"
            )
        # A written-out default is let through, so that a resolved recipe can be run again.
        if self.of == "input" and self.per_record:
            raise ValueError(
                "of says what rank, top, fraction or quota are taken of: give one, or drop of"
            )
        return self

    def _check_bounds(self) -> None:
        lower = "above" if self.min is None else "min"
        upper = "below" if self.max is None else "max"
        low, high = getattr(self, lower), getattr(self, upper)
        if low is None or high is None or low < high:
            return
        if low > high or (lower, upper) != ("min", "max"):
            raise ValueError(f"no score is both {lower}: {low} and {upper}: {high}")

    def count(self, rows: int) -> int:
        """How many of `rows` records top or fraction keep, exactly."""
        if self.top is not None:
            return self.top
        return rows if self.fraction is None else count_of(float(self.fraction), rows)


class Strata(Options):
    """Ranks are taken inside equal-count bins of another column."""

    by: str = Field(description="The numeric column to bin by, such as nll_query.")
    bins: int = Field(10, ge=1, description="How many bins of equally many records.")


def stratum_groups(
    by: Floats | None = None, bins: int | None = None, group_codes: Ints | None = None
) -> Ints | None:
    """Group numbers for `decide`: equal-count bins of `by` crossed with the codes of `group`.

    The bins are those of the whole column. -1 where `by` is null or the code is negative;
    None where there is neither, that is, no groups. `bins` goes with `by`.
    """
    if by is None or bins is None:
        return group_codes
    stratum = equal_count_bins(by, bins)
    if group_codes is None:
        return stratum
    lost = (stratum < 0) | (group_codes < 0)
    return np.where(lost, -1, group_codes * bins + stratum)


def decide(
    keep: Keep,
    values: Floats,
    null_reasons: Sequence[str],
    null_codes: Ints,
    groups: Ints | None = None,
    *,
    quotas: Quotas | None = None,
) -> Decisions:
    """Apply `keep` to one column, rows in stream order.

    `null_codes` holds one index into `null_reasons` a row, read only where the value is NaN.
    `groups` are those of `stratum_groups`: with them rank, top and fraction order by the
    fractional rank inside the group, and a row whose group is -1 is a null with the reason
    ``no_stratum``. `quotas` go with `keep.quota`, and have the groups that it names.
    """
    chain = _Chain(values, null_reasons, null_codes, groups)
    for rule, holds in zip(
        BOUNDS, (np.greater_equal, np.greater, np.less_equal, np.less), strict=True
    ):
        bound = getattr(keep, rule)
        if bound is not None:
            chain.reject(rule, ~holds(values, bound), bound)
    if not keep.per_record:
        _rank_and_count(keep, chain, values, groups, quotas)
    if keep.invert:
        chain.invert()
    return Decisions(chain.reason == 0, chain.reason, chain.reasons, chain.value, chain.bound)


def _rank_and_count(
    keep: Keep, chain: _Chain, values: Floats, groups: Ints | None, quotas: Quotas | None
) -> None:
    """The rules that compare rows with one another."""
    of_input = keep.of == "input"
    ranks = values  # without groups, the highest values are the highest ranks
    if keep.rank is not None or groups is not None:
        ranked = chain.judged if of_input else chain.left
        ranks = fractional_ranks(np.where(ranked, values, np.nan), groups)
    if keep.rank is not None:
        low, high = keep.rank
        chain.value[chain.left] = ranks[chain.left]
        chain.reject("rank", ranks < low, low)
        chain.reject("rank", ranks >= high, high)
    if all(getattr(keep, name) is None for name in COUNTS):
        return
    key = values if groups is None else ranks
    left = np.flatnonzero(chain.left)
    chain.value[left] = key[left]
    if quotas is not None:
        counts = quotas.counts(np.ones(len(values), np.bool_) if of_input else chain.left)
        chain.reject("quota", *_beyond(counts, left, key, quotas.group.codes))
        return
    count = keep.count(len(values) if of_input else len(left))
    # A stable sort: of equal values, those that come earlier in the stream stay.
    best_first = left[np.argsort(-key[left], kind="stable")]
    beyond = np.zeros(len(values), dtype=np.bool_)
    beyond[best_first[count:]] = True
    kept = best_first[:count]
    bound = float(key[kept[-1]]) if len(kept) else float("nan")
    chain.reject("fraction" if keep.top is None else "top", beyond, bound)


def _beyond(counts: Ints, left: Ints, key: Floats, codes: Ints) -> tuple[Bools, Floats]:
    """Which of the rows `left` are beyond their group's count, and the last key inside it.

    Of equal keys, those that come earlier in the stream stay.
    """
    order = left[np.lexsort((-key[left], codes[left]))]
    code = codes[order]
    place = np.arange(len(order)) - np.searchsorted(code, code)
    most = counts[code]
    last = np.full(len(counts), np.nan)
    at_last = place == most - 1
    last[code[at_last]] = key[order[at_last]]
    beyond, bound = np.zeros(len(key), dtype=np.bool_), np.full(len(key), np.nan)
    beyond[order] = place >= most
    bound[order] = last[code]
    return beyond, bound


class _Chain:
    """The decisions so far. `judged` are the rows with a number and a group, kept or not."""

    def __init__(
        self, values: Floats, null_reasons: Sequence[str], null_codes: Ints, groups: Ints | None
    ) -> None:
        self.reasons = ("kept", *null_reasons, "no_stratum", *RULES)
        self._first_rule = len(self.reasons) - len(RULES)
        self.reason = np.zeros(len(values), dtype=np.int16)
        self.value = np.array(values, dtype=np.float64)
        self.bound = np.full(len(values), np.nan)
        null = np.isnan(values)
        self.reason[null] = 1 + null_codes[null]
        if groups is not None:
            lost = ~null & (groups < 0)
            self.reason[lost] = self._first_rule - 1
            self.value[lost] = np.nan
        self.judged = self.left

    @property
    def left(self) -> Bools:
        """The rows that nothing has rejected yet."""
        return np.equal(self.reason, 0)

    def reject(self, rule: str, failed: Bools, bound: float | Floats) -> None:
        """Reject what is left and failed; what was rejected before keeps its reason."""
        failed = failed & self.left
        self.reason[failed] = self._first_rule + RULES.index(rule)
        self.bound[failed] = np.broadcast_to(bound, len(failed))[failed]

    def invert(self) -> None:
        """Swap kept and rejected among the judged rows."""
        kept = self.left
        self.reason[self.judged] = 0
        self.reason[kept] = self._first_rule + RULES.index("invert")
        self.bound[self.judged] = np.nan
