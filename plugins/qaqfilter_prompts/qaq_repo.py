"""The texts of QAQ's script (arXiv 2603.12165, XXSg559/QAQ, `rmi_math.py`), by a chat template.

    query               [system, user: Q]
    query_given_answer  [system, user: reverse(A), assistant: Q]

Both are rendered without a generation prompt, and tokenised with special tokens added once more.
Scored are the tokens that begin behind a boundary, up to the end, the template's own among them:
in `query` as many characters from the start as the rendering with an empty user turn has, which
holds the end of the turn already, so that the beginning of Q is not scored; in
`query_given_answer` as many as the rendering has up to where the assistant begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pydantic import Field

from qaqfilter import (
    Backend,
    Joint,
    Limit,
    PromptError,
    Record,
    Resources,
)
from qaqfilter.sandbox import Template
from qaqfilter_prompts.borrowing import Reverse, TemplateOptions, chosen_template

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
REVERSE = (
    "TASK: Given an answer, generate the most likely math problem that this answer is responding "
    'to. If the inferred question is outside mathematics, respond with "INVALID".\n'
    "Answer:\n{answer}"
)

Message = tuple[str, str]
"""Role and content."""


class QaqRepoOptions(TemplateOptions):
    """Options of `qaq_repo`; the texts are for mathematics unless you give others."""

    system: str = Field(
        SYSTEM, description="The script's `--system_prompt`: that of the training to come."
    )
    reverse: Reverse = Field(
        REVERSE,
        description="The script's `--rmi_instruction_template`: what asks for the query of an "
        "answer; `{answer}` stands for the answer.",
    )
    max_length: int = Field(
        20480, ge=2, description="The script's `--max_length`: tokens of a rendered text."
    )


class QaqRepo:
    """Asks as the script does. Earlier turns and a record's own system text have no place in it."""

    def __init__(self, config: QaqRepoOptions, backend: Backend, resources: Resources) -> None:
        self._config = config
        chosen = chosen_template(config, backend.chat_template, resources)
        self._template = Template(chosen.source, chosen.origin)
        self._tokens = {"bos_token": chosen.bos_token, "eos_token": chosen.eos_token}

    def request(self, likelihood: str, record: Record) -> Joint:
        """`query` or `query_given_answer`. Raises PromptError for others."""
        if likelihood == "query":
            text, boundary = self._render([("user", record.query)]), self._boundary_of_query
        elif likelihood == "query_given_answer":
            asked = ("user", self._config.reverse.replace("{answer}", record.answer))
            # For Qwen 3, whose template asks for it where an assistant speaks.
            text = self._render([asked, ("assistant", record.query)], enable_thinking=False)
            before = self._render([asked], enable_thinking=False, add_generation_prompt=True)
            boundary = len(before)
        else:
            raise PromptError(
                f"QAQ's script has no likelihood {likelihood!r}, only query and "
                "query_given_answer: it goes with `use: rmi` and `use: disagreement`"
            )
        return Joint(text, boundary, "offsets", Limit(self._config.max_length))

    @cached_property
    def _boundary_of_query(self) -> int:
        return len(self._render([("user", "")]))

    def _render(
        self, turns: Sequence[Message], *, add_generation_prompt: bool = False, **more: bool
    ) -> str:
        messages = [("system", self._config.system), *turns]
        return self._template.render(
            {
                **self._tokens,
                "tools": None,
                "documents": None,
                "messages": [{"role": role, "content": said} for role, said in messages],
                "add_generation_prompt": add_generation_prompt,
                **more,
            }
        )
