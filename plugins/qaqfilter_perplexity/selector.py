"""perplexity = exp(nll); nll = -logprob / tokens.

Perplexity-based pruning (arXiv 2405.20541). `nll` is in nats per token; perplexity is a pure
number, 1 for a text that the model foresees entirely. ``of: both`` is that of the query followed
by the answer: nll = -(logprob(Q) + logprob(A|Q)) / (tokens(Q) + tokens(A)).

The paper keeps a band: the lowest perplexities, the highest, or those around the median. With
`band` the first column says how near a record is to it, from its fractional rank r, so that
``keep: {fraction: 0.5}`` keeps the band of that width: low = 1 - r, high = r, mid = 1 - |2r - 1|.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import ModelName, Need, Options, Paper, Table, fractional_ranks


class PerplexityOptions(Options):
    """Options of `perplexity`."""

    model: ModelName
    of: Literal["answer", "query", "answer_given_query", "query_given_answer", "both"] = Field(
        "answer", description="The likelihood to take; both: the query, then the answer given it."
    )
    band: Literal["low", "mid", "high"] | None = Field(
        None,
        description="Judge by rank instead: a column of this name, 1 for the lowest, the median or "
        "the highest perplexity, so that `keep: {fraction: ...}` keeps the band.",
    )


class Perplexity:
    """Columns: low, mid or high where a band is asked for; perplexity (both pure numbers); nll.

    nll is in nats a token.
    """

    papers = (Paper("Perplexity-based pruning", "https://arxiv.org/abs/2405.20541"),)

    def __init__(self, config: PerplexityOptions) -> None:
        parts = ("query", "answer_given_query") if config.of == "both" else (config.of,)
        self.needs = tuple(Need(config.model, part) for part in parts)
        self.band = config.band
        self.columns = (*([config.band] if config.band else []), "perplexity", "nll")

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where a likelihood is."""
        parts = [table.likelihood(*need) for need in self.needs]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            nll = -sum(part.logprob for part in parts) / sum(part.tokens for part in parts)
            nll = np.where(np.any([part.status != 0 for part in parts], axis=0), np.nan, nll)
            perplexity = np.exp(nll)
        found = {"perplexity": perplexity, "nll": nll}
        if self.band is None:
            return found
        rank = fractional_ranks(table.combine(perplexity))
        nearness = {"low": 1 - rank, "mid": 1 - np.abs(2 * rank - 1), "high": rank}
        return {self.band: nearness[self.band], **found}
