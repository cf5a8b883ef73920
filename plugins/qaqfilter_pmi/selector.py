"""pmi = logprob(A|Q) - logprob(A); pmi_per_token = pmi / tokens(A) = nll(A) - nll(A|Q).

Pointwise mutual information, in nats, or nats per token: how much likelier the query makes the
answer. 0: not at all; below 0: less likely. `of: query` is the other direction, logprob(Q|A) -
logprob(Q); of a true probability distribution both are the same number, of a model they are not,
and pmi_per_token of the query is `rmi`.

The sum grows with the length of the side, so it favours long ones; the mean does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import ModelName, Need, Options, Paper, Table

OTHER = {"answer": "query", "query": "answer"}


class PmiOptions(Options):
    """Options of `pmi`."""

    model: ModelName
    of: Literal["answer", "query"] = Field("answer", description="The side that is predicted.")
    per: Literal["record", "token"] = Field(
        "record", description="The sum over the side's tokens, or their mean; names the column."
    )


class Pmi:
    """Columns: pmi (nats) or pmi_per_token (nats a token), logprob_alone, logprob_given (nats)."""

    papers = (Paper("Coder reviewer reranking", "https://arxiv.org/abs/2211.16490"),)

    def __init__(self, config: PmiOptions) -> None:
        name = "pmi" if config.per == "record" else "pmi_per_token"
        self.columns = (name, "logprob_alone", "logprob_given")
        self.needs = (
            Need(config.model, config.of),
            Need(config.model, f"{config.of}_given_{OTHER[config.of]}"),
        )

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where either likelihood is."""
        alone, given = (table.likelihood(*need) for need in self.needs)
        pmi = given.logprob - alone.logprob
        if self.columns[0] == "pmi_per_token":
            pmi = alone.nll - given.nll
        return {
            self.columns[0]: pmi,
            "logprob_alone": alone.logprob,
            "logprob_given": given.logprob,
        }
