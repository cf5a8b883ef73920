"""The texts of Superfiltering's script (arXiv 2402.00530, tianyi-lab/Superfiltering, `code_ifd`).

P                   instruction, line break; and input, line break, where there is one
answer              [A]      everything but the first token; max_length - tokens(P) + 1 tokens
answer_given_query  P [A]    from tokens(P) on, tokens counted apart; max_length tokens
"""

from __future__ import annotations

from pydantic import Field

from qaqfilter import Backend, Joint, Limit, Options, PromptError, Record, Resources


class SuperfilteringOptions(Options):
    """Options of `superfiltering`."""

    max_length: int = Field(
        1024, ge=2, description="The script's `--max_length`: tokens of prompt and answer together."
    )


class Superfiltering:
    """Asks as the script does. Earlier turns and system texts have no place in it."""

    def __init__(
        self, config: SuperfilteringOptions, backend: Backend, resources: Resources
    ) -> None:
        self._most = config.max_length

    def request(self, likelihood: str, record: Record) -> Joint:
        """`answer` or `answer_given_query`. Raises PromptError for others."""
        prompt = f"{record.instruction}\n"
        if record.input:
            prompt += f"{record.input}\n"
        if likelihood == "answer":
            return Joint(record.answer, limit=Limit(self._most, beside=prompt, slack=1))
        if likelihood == "answer_given_query":
            return Joint(prompt + record.answer, len(prompt), limit=Limit(self._most))
        raise PromptError(
            f"Superfiltering's script has no likelihood {likelihood!r}, only answer and "
            "answer_given_query: it goes with `use: ifd`"
        )
