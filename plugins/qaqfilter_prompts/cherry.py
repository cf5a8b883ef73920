"""The texts of Cherry_LLM's scripts (arXiv 2308.12032, tianyi-lab/Cherry_LLM).

    P                   the Alpaca prompt, which ends in "### Response:" without a line break
    answer              "### Response:" [A]    max_length - tokens(P) + 4 tokens
    answer_given_query  P [A]                  max_length tokens

Tokens before [A] are counted apart. No likelihood where P and what is scored of the answer have
more than max_length tokens together.
"""

from __future__ import annotations

from pydantic import Field

from qaqfilter import Backend, Joint, Limit, Options, PromptError, Record, Resources
from qaqfilter_prompts.alpaca import ALPACA

MARK = "### Response:"


class CherryOptions(Options):
    """Options of `cherry`."""

    max_length: int = Field(
        512, ge=2, description="The scripts' `--max_length`: tokens of prompt and answer together."
    )


class Cherry:
    """Asks as the scripts do. Earlier turns and system texts have no place in them."""

    def __init__(self, config: CherryOptions, backend: Backend, resources: Resources) -> None:
        self._most = config.max_length

    def request(self, likelihood: str, record: Record) -> Joint:
        """`answer` or `answer_given_query`. Raises PromptError for others."""
        prompt, answer = ALPACA(record.instruction, record.input), record.answer
        if likelihood == "answer":
            beside = Limit(self._most, beside=prompt, slack=4)
            return Joint(MARK + answer, len(MARK), limit=beside)
        if likelihood == "answer_given_query":
            return Joint(prompt + answer, len(prompt), limit=Limit(self._most))
        raise PromptError(
            f"Cherry_LLM's scripts have no likelihood {likelihood!r}, only answer and "
            "answer_given_query: they go with `use: ifd`"
        )
