"""rmi = nll(Q) - nll(Q|A).

Reverse mutual information (QAQ, arXiv 2603.12165), nats per token of the query: how much the
answer explains the query. Low or negative: the two do not belong together. Very high is suspect
too: an answer that repeats its query, say. An easy query (small nll(Q)) leaves little to explain,
so compare like with like: ``strata: {by: nll_query, bins: 10}``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qaqfilter import ModelName, Need, Options, Paper, Table


class RmiOptions(Options):
    """Options of `rmi`."""

    model: ModelName


class Rmi:
    """Columns: rmi, nll_query, nll_query_given_answer (all nats a token of the query)."""

    columns = ("rmi", "nll_query", "nll_query_given_answer")
    papers = (Paper("QAQ", "https://arxiv.org/abs/2603.12165"),)

    def __init__(self, config: RmiOptions) -> None:
        self.model = config.model
        self.needs = (Need(self.model, "query"), Need(self.model, "query_given_answer"))

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where either likelihood is."""
        alone = table.nll(self.model, "query")
        given = table.nll(self.model, "query_given_answer")
        return {"rmi": alone - given, "nll_query": alone, "nll_query_given_answer": given}
