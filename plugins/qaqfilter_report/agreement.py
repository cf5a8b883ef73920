"""Whether the steps say the same: rank correlation of their scores, overlap of what they keep."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np

from qaqfilter.finished import Finished
from qaqfilter.ranking import fractional_ranks
from qaqfilter_report.binning import Floats

MOST = 200_000
"""Records that correlations are computed of."""
FEWEST = 3


class Agreement(NamedTuple):
    """Two steps over the `records` that both have scored; `rank` is Spearman's correlation.

    `rank` is None where one of them gives all of these the same score.
    """

    first: str
    second: str
    records: int
    rank: float | None


def agreements(run: Finished) -> Iterator[Agreement]:
    """Every two steps that have scored the same records. Large runs are sampled."""
    here = np.arange(run.records)
    if run.records > MOST:
        here = np.sort(np.random.default_rng(0).choice(run.records, MOST, replace=False))
    scores = {step.id: run.numbers(step.column)[here] for step in run.steps}
    for first, second in combinations(scores, 2):
        both = np.isfinite(scores[first]) & np.isfinite(scores[second])
        if both.sum() >= FEWEST:
            yield Agreement(
                first,
                second,
                int(both.sum()),
                spearman(scores[first][both], scores[second][both]),
            )


def spearman(first: Floats, second: Floats) -> float | None:
    """Rank correlation, ties sharing a rank; None where one side is all the same."""
    ranks = fractional_ranks(first), fractional_ranks(second)
    if min(float(rank.std()) for rank in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])
