"""A refusal in place of the answer, in one of the wordings that chat models have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter import Record

WORDINGS = (
    "I'm sorry, but I can't assist with that request.",
    "I apologize, but I am unable to help with this. Is there something else I can do for you?",
    "As an AI language model, I cannot provide an answer to this question.",
    "Sorry, I'm not able to write that code. Please consult the official documentation.",
    "I'm afraid I don't have enough information to complete this task.",
    "Unfortunately, I cannot fulfil this request, as it goes beyond my capabilities.",
    "I cannot help with that. If you have any other questions, feel free to ask!",
    "As a large language model I don't have access to the tools that this would need.",
)


class Refusal:
    """Any record can be spoilt so."""

    def damage(
        self, record: Record, others: Sequence[Record], rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """The query with a refusal."""
        return record.query, WORDINGS[int(rng.integers(len(WORDINGS)))]
