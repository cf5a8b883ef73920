"""The texts of Selective Reflection-Tuning (arXiv 2402.10110, tianyi-lab/Reflection_Tuning).

    P                   the template around instruction and input
    R                   the template around a request to guess the instruction, with the answer
    answer              [A]                 max_length - tokens(P) + 1 tokens
    answer_given_query  P [A]               max_length tokens
    query               [instruction input]     max_length - tokens(R) + 1 tokens
    query_given_answer  R [instruction input]   max_length tokens

Of texts that stand alone everything is scored but the first token; else the tokens before the
target are counted apart. Instruction and input are joined without anything between them, and the
target begins where the instruction is found last: where the input repeats it, that is there.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qaqfilter import Backend, Joint, Limit, Options, PromptError, Record, Resources
from qaqfilter_prompts.alpaca import ALPACA, VICUNA, WIZARDLM

TEMPLATES = {"vicuna": VICUNA, "wiz": WIZARDLM, "alpaca": ALPACA}
GUESS = (
    "Below is the response to an instruction, please guess the corresponding instruction for the "
    "given response.\n{answer}\nGenerate the instruction for the above response."
)


class ReflectionTuningOptions(Options):
    """Options of `reflection_tuning`."""

    template: Literal["vicuna", "wiz", "alpaca"] = Field(
        "vicuna", description="The script's `--prompt`, by its own names and with its own default."
    )
    max_length: int = Field(
        2048,
        ge=2,
        description="The script's `--max_length`: tokens of context and target.",
    )


class ReflectionTuning:
    """Asks as the script does. Earlier turns and system texts have no place in it."""

    def __init__(
        self, config: ReflectionTuningOptions, backend: Backend, resources: Resources
    ) -> None:
        self._most = config.max_length
        self._wrap = TEMPLATES[config.template]

    def request(self, likelihood: str, record: Record) -> Joint:
        """The text of one of the four. Raises PromptError for others."""
        if likelihood in ("query", "query_given_answer"):
            context = self._wrap(GUESS.replace("{answer}", record.answer))
            target = record.instruction + record.input
            whole = context + target
            boundary = whole.rfind(record.instruction)
        elif likelihood in ("answer", "answer_given_query"):
            context, target = self._wrap(record.instruction, record.input), record.answer
            whole, boundary = context + target, len(context)
        else:
            raise PromptError(f"the script has no likelihood {likelihood!r}")
        if likelihood in ("query", "answer"):
            return Joint(target, limit=Limit(self._most, beside=context, slack=1))
        return Joint(whole, boundary, limit=Limit(self._most))
