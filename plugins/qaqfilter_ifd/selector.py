"""ifd_ppl = exp(nll(A|Q) - nll(A)); ifd_nll = nll(A|Q) / nll(A).

Instruction-following difficulty, a pure number. 1: the query tells nothing about the answer;
above 1: it makes the answer less likely; near 0: it all but gives the answer away.

`ifd_ppl` is a ratio of perplexities (Superfiltering, arXiv 2402.00530), `ifd_nll` a ratio of mean
losses (Cherry_LLM, arXiv 2308.12032). A threshold for one means nothing for the other, so the
column carries the variant's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import ModelName, Need, Options, Paper, Table

PAPERS = {
    "ifd_ppl": Paper("Superfiltering", "https://arxiv.org/abs/2402.00530"),
    "ifd_nll": Paper("Cherry_LLM", "https://arxiv.org/abs/2308.12032"),
}


class IfdOptions(Options):
    """Options of `ifd`."""

    model: ModelName
    variant: Literal["ifd_ppl", "ifd_nll"] = Field(
        "ifd_ppl", description="A ratio of perplexities, or of mean losses; names the column."
    )


class Ifd:
    """Columns: the variant (a pure number), nll_answer, nll_answer_given_query (nats a token)."""

    def __init__(self, config: IfdOptions) -> None:
        self.model = config.model
        self.variant = config.variant
        self.papers = (PAPERS[config.variant],)
        self.columns = (config.variant, "nll_answer", "nll_answer_given_query")
        self.needs = (Need(self.model, "answer"), Need(self.model, "answer_given_query"))

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where either likelihood is; `ifd_nll` also where nll(A) is 0."""
        alone = table.nll(self.model, "answer")
        given = table.nll(self.model, "answer_given_query")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.variant == "ifd_ppl":
                ifd = np.exp(given - alone)
            else:
                ifd = np.where(alone == 0, np.nan, given / alone)
        return {self.variant: ifd, "nll_answer": alone, "nll_answer_given_query": given}
