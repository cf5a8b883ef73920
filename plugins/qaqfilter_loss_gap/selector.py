"""loss_gap = nll_model(x) - nll_reference(x), x the answer given its query by default.

Two models OF ONE TOKENIZER about the same tokens, nats per token: how much harder `model`, which is
to be trained, finds a text than `reference`, which knows its kind already. High: it can be learnt,
and is not yet; near 0: known to both, or noise to both; below 0: the reference finds it strange.

As in the reducible holdout loss (RHO-LOSS, arXiv 2206.07137), whose reference was trained on data
held out, and in learnability scores, whose reference is an earlier or later checkpoint. Of two
tokenizers the difference would compare tokens of different lengths, so it is refused:
`disagreement` compares ranks, and `bits_per_byte` counts what both count alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from qaqfilter import ModelName, Need, Options, Paper, Table, UsageError


class LossGapOptions(Options):
    """Options of `loss_gap`."""

    model: ModelName = Field(description="The model that is to be trained, or a weak one.")
    reference: ModelName = Field(description="One that knows such texts; of the same tokenizer.")
    of: Literal["query", "answer_given_query", "answer", "query_given_answer"] = Field(
        "answer_given_query", description="The likelihood to take of both."
    )

    @model_validator(mode="after")
    def _two_models(self) -> Self:
        if self.model == self.reference:
            raise ValueError(f"model and reference must be two models; both are {self.model!r}")
        return self


class LossGap:
    """Columns: loss_gap, nll_model, nll_reference (nats a token)."""

    columns = ("loss_gap", "nll_model", "nll_reference")
    papers = (Paper("RHO-LOSS", "https://arxiv.org/abs/2206.07137"),)

    def __init__(self, config: LossGapOptions) -> None:
        self.needs = (Need(config.model, config.of), Need(config.reference, config.of))
        self.one_tokenizer = (config.model, config.reference)

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where either likelihood is. Raises UsageError where the tokens are not the same."""
        one, other = (table.likelihood(*need) for need in self.needs)
        different = (one.status == 0) & (other.status == 0) & (one.tokens != other.tokens)
        if different.any():
            row = int(np.flatnonzero(different)[0])
            names = " and ".join(repr(name) for name in self.one_tokenizer)
            raise UsageError(
                f"loss_gap needs two models of one tokenizer, and {names} make "
                f"{one.tokens[row]} and {other.tokens[row]} tokens of the record in row "
                f"{int(table.rows[row])}: take models of one family, or compare their ranks with "
                "`use: disagreement`"
            )
        return {
            "loss_gap": one.nll - other.nll,
            "nll_model": one.nll,
            "nll_reference": other.nll,
        }
