"""rifd_ppl = exp(nll(Q|A) - nll(Q)); rifd_nll = nll(Q|A) / nll(Q).

Reverse instruction-following difficulty (Selective Reflection-Tuning, arXiv 2402.10110), a pure
number. 1: the answer tells nothing about the query; above 1: it makes the query less likely; near
0: it all but gives the query away. rifd_ppl = exp(-rmi): the same order as `rmi`, turned around.

`rifd_ppl` is a ratio of perplexities, `rifd_nll` one of mean losses. A threshold for one means
nothing for the other, so the column carries the variant's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import ModelName, Need, Options, Paper, Table


class RifdOptions(Options):
    """Options of `rifd`."""

    model: ModelName
    variant: Literal["rifd_ppl", "rifd_nll"] = Field(
        "rifd_ppl", description="A ratio of perplexities, or of mean losses; names the column."
    )


class Rifd:
    """Columns: the variant (a pure number), nll_query, nll_query_given_answer (nats a token)."""

    papers = (Paper("Selective Reflection-Tuning", "https://arxiv.org/abs/2402.10110"),)

    def __init__(self, config: RifdOptions) -> None:
        self.model = config.model
        self.variant = config.variant
        self.columns = (config.variant, "nll_query", "nll_query_given_answer")
        self.needs = (Need(self.model, "query"), Need(self.model, "query_given_answer"))

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where either likelihood is; `rifd_nll` also where nll(Q) is 0."""
        alone = table.nll(self.model, "query")
        given = table.nll(self.model, "query_given_answer")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.variant == "rifd_ppl":
                rifd = np.exp(given - alone)
            else:
                rifd = np.where(alone == 0, np.nan, given / alone)
        return {self.variant: rifd, "nll_query": alone, "nll_query_given_answer": given}
