"""diff = r_strong - r_weak; sum = r_strong + r_weak; r = rank of rmi = nll(Q) - nll(Q|A).

The four arms of QAQ's ablation judge diff (`diff_high`, QAQ proper), -diff (`diff_low`), sum
(`sum_high`) and -sum (`sum_low`), so that ``keep: {fraction: 0.25}`` keeps what the arm keeps.

QAQ proper (arXiv 2603.12165). r is the fractional rank, (rank - 0.5) / n, of a model's reverse
mutual information inside equal-count bins of the same model's nll(Q), or over all records with
``ranks: global``. Ranks are pure numbers in (0, 1), so diff lies in (-1, 1) and sum in (0, 2).

Ranks, because nll per token of two tokenisers cannot be compared. Both models rank the same
records, those that both could score: a record that one of them cannot has no place in the
comparison, and would shift the other's ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from qaqfilter import ModelName, Need, Options, Paper, Table, equal_count_bins, fractional_ranks

COLUMNS = {
    "diff_high": "diff",
    "diff_low": "minus_diff",
    "sum_high": "sum",
    "sum_low": "minus_sum",
}


class DisagreementOptions(Options):
    """Options of `disagreement`."""

    strong: ModelName
    weak: ModelName
    arm: Literal["diff_high", "diff_low", "sum_high", "sum_low"] = Field(
        "diff_high",
        description="What is judged, high being good: the difference of the two ranks (column "
        "`diff`), its negative (`minus_diff`), their sum (`sum`), its negative (`minus_sum`).",
    )
    ranks: Literal["stratified", "global"] = Field(
        "stratified", description="Rank inside bins of the model's own nll(Q), or over all records."
    )
    bins: int = Field(10, ge=1, description="How many bins; unused with `ranks: global`.")

    @model_validator(mode="after")
    def _two_models(self) -> Self:
        if self.strong == self.weak:
            raise ValueError(f"strong and weak must be two models; both are {self.strong!r}")
        return self


class Disagreement:
    """Columns: diff, minus_diff, sum or minus_sum; strong_rank, weak_rank (pure numbers)."""

    papers = (Paper("QAQ", "https://arxiv.org/abs/2603.12165"),)

    def __init__(self, config: DisagreementOptions) -> None:
        self.config = config
        self.columns = (COLUMNS[config.arm], "strong_rank", "weak_rank")
        self.needs = tuple(
            Need(model, likelihood)
            for model in (config.strong, config.weak)
            for likelihood in ("query", "query_given_answer")
        )

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null in every column where either model's rmi is."""
        models = (self.config.strong, self.config.weak)
        rmi = [
            table.combine(table.nll(model, "query") - table.nll(model, "query_given_answer"))
            for model in models
        ]
        alone = [table.combine(table.nll(model, "query")) for model in models]
        lost = np.isnan(rmi[0]) | np.isnan(rmi[1])
        strong, weak = (self._ranks(r, a, lost) for r, a in zip(rmi, alone, strict=True))
        kind, _, end = self.config.arm.partition("_")
        judged = strong - weak if kind == "diff" else strong + weak
        judged = judged if end == "high" else -judged
        return {self.columns[0]: judged, "strong_rank": strong, "weak_rank": weak}

    def _ranks(
        self, rmi: NDArray[np.float64], nll_query: NDArray[np.float64], lost: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        ranked = np.where(lost, np.nan, rmi)
        if self.config.ranks == "global":
            return fractional_ranks(ranked)
        bins = equal_count_bins(np.where(lost, np.nan, nll_query), self.config.bins)
        return fractional_ranks(ranked, bins)
