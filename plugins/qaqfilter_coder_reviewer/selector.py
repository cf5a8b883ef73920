"""coder_reviewer = logprob(A|Q) + logprob(Q|A), a sum, or of means: -nll(A|Q) - nll(Q|A).

Coder-reviewer (arXiv 2211.16490), which ranks answers to one query: the coder says how likely the
answer is, the reviewer how likely the query is for who has read the answer. Nats, never above 0;
high means that each side follows from the other. As a filter over many queries it also favours
what is easy, and the sum favours what is short: `per: token` weighs both sides alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import ModelName, Need, Options, Paper, Table


class CoderReviewerOptions(Options):
    """Options of `coder_reviewer`."""

    model: ModelName
    per: Literal["record", "token"] = Field(
        "record", description="Sums over the tokens of each side, or means; names the column."
    )


class CoderReviewer:
    """Columns: coder_reviewer or coder_reviewer_per_token, coder, reviewer.

    Nats, or nats a token: sums, or means.
    """

    papers = (Paper("Coder reviewer reranking", "https://arxiv.org/abs/2211.16490"),)

    def __init__(self, config: CoderReviewerOptions) -> None:
        self.mean = config.per == "token"
        name = "coder_reviewer_per_token" if self.mean else "coder_reviewer"
        self.columns = (name, "coder", "reviewer")
        self.needs = (
            Need(config.model, "answer_given_query"),
            Need(config.model, "query_given_answer"),
        )

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where either likelihood is."""
        sides = [table.likelihood(*need) for need in self.needs]
        coder, reviewer = (-side.nll if self.mean else side.logprob for side in sides)
        return {self.columns[0]: coder + reviewer, "coder": coder, "reviewer": reviewer}
