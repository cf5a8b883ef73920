"""perplexity = exp(nll); nll = -logprob / tokens.

Perplexity-based pruning (arXiv 2405.20541). `nll` is in nats per token; perplexity is a pure
number, 1 for a text that the model foresees entirely. ``of: both`` is that of the query followed
by the answer: nll = -(logprob(Q) + logprob(A|Q)) / (tokens(Q) + tokens(A)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import ModelName, Need, Options, Paper, Table


class PerplexityOptions(Options):
    """Options of `perplexity`."""

    model: ModelName
    of: Literal["answer", "query", "answer_given_query", "query_given_answer", "both"] = Field(
        "answer", description="The likelihood to take; both: the query, then the answer given it."
    )


class Perplexity:
    """Columns: perplexity (a pure number), nll (nats a token)."""

    columns = ("perplexity", "nll")
    papers = (Paper("Perplexity-based pruning", "https://arxiv.org/abs/2405.20541"),)

    def __init__(self, config: PerplexityOptions) -> None:
        parts = ("query", "answer_given_query") if config.of == "both" else (config.of,)
        self.needs = tuple(Need(config.model, part) for part in parts)

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where a likelihood is."""
        parts = [table.likelihood(*need) for need in self.needs]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            nll = -sum(part.logprob for part in parts) / sum(part.tokens for part in parts)
            nll = np.where(np.any([part.status != 0 for part in parts], axis=0), np.nan, nll)
            return {"perplexity": np.exp(nll), "nll": nll}
