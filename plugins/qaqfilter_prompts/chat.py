"""Records as conversations, written out by a chat template.

The four likelihoods, with Q and A for the sides, `system` first where there is one:

    query               user: [Q]
    answer_given_query  user: Q          assistant: [A]
    answer              user: (empty)    assistant: [A]
    query_given_answer  user: reverse(A) assistant: [Q]

Earlier turns of a conversation stand before these, in all four, as turns of their own roles.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import Field, field_validator

from qaqfilter import (
    Backend,
    PromptError,
    PromptRefused,
    Record,
    Request,
    Resources,
)
from qaqfilter.prompts import SHAPES, Shape, cut, data_of, turn_slot
from qaqfilter.sandbox import FIXED_DATE, Template
from qaqfilter_prompts.borrowing import Reverse, TemplateOptions, chosen_template

REVERSE = """\
You are given an answer. Work out which programming task it was most likely written for, and \
write down that task and nothing else. If the answer has nothing to do with programming, reply \
with the single word "INVALID".

Answer:
{answer}"""

_USER = {"query": "query", "answer_given_query": "query", "query_given_answer": "answer"}
_TARGET = {
    "query": "query",
    "answer_given_query": "answer",
    "answer": "answer",
    "query_given_answer": "query",
}
_OURS = ("messages", "add_generation_prompt")


class ChatOptions(TemplateOptions):
    """A chat template: the model's own, or one you name. It is never guessed."""

    system: str | None = Field(
        None, description="System text for records that bring none; none at all if left out."
    )
    reverse: Reverse = Field(
        REVERSE,
        description="What asks for the query of an answer; `{answer}` stands for the answer.",
    )
    trim: bool = Field(
        False,
        description="Strip white space around the record's texts, in all four likelihoods alike; "
        "for templates that trim.",
    )
    variables: dict[str, Any] = Field(
        default_factory=dict,
        description="Further variables for the template. `enable_thinking` is false unless given.",
    )
    date: datetime.date = Field(
        FIXED_DATE,
        description="Today, for templates that put the date into their text. Fixed, so that a "
        "recipe gives the same numbers on every day.",
    )

    @field_validator("variables")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := [name for name in _OURS if name in value]:
            raise ValueError(f"{taken[0]} is set by the chat format itself")
        return value


class Chat:
    """The chat format. The record's own system text beats the recipe's."""

    def __init__(self, config: ChatOptions, backend: Backend, resources: Resources) -> None:
        self._config = config
        chosen = chosen_template(config, backend.chat_template, resources)
        self._template = Template(chosen.source, chosen.origin, config.date)
        self._variables = {
            "bos_token": chosen.bos_token,
            "eos_token": chosen.eos_token,
            # Templates ask whether these "are none", which an unknown name is not.
            "tools": None,
            "documents": None,
            "enable_thinking": False,
            **config.variables,
        }
        self._shape = lru_cache(SHAPES)(self._new_shape)

    def request(self, likelihood: str, record: Record) -> Request:
        """The request for one likelihood. Raises PromptError where the template cannot do it."""
        values = data_of(record)
        if self._config.trim:
            values = {name: text.strip() for name, text in values.items()}
        roles = tuple(turn.role for turn in record.history)
        return self._shape(likelihood, bool(values["system"]), roles).request(values)

    def _new_shape(self, likelihood: str, has_system: bool, roles: tuple[str, ...]) -> Shape:
        if likelihood not in _TARGET:
            raise PromptError(f"the chat format has no likelihood {likelihood!r}")
        inside = likelihood == "query"
        user = () if inside or likelihood == "answer" else (_USER[likelihood],)
        turns = map(turn_slot, range(len(roles)))
        try:
            return cut(
                lambda slots: self._render(likelihood, roles, slots),
                self._template.origin,
                given=(*(("system",) if has_system else ()), *turns, *user),
                target=_TARGET[likelihood],
                inside=inside,
                trim=self._config.trim,
            )
        except PromptError as error:
            if not roles and not has_system:
                raise
            raise PromptRefused(f"{error} ({_what(has_system, roles)})") from error

    def _render(self, likelihood: str, roles: tuple[str, ...], slots: Mapping[str, str]) -> str:
        user = slots[_USER[likelihood]] if likelihood in _USER else ""
        if likelihood == "query_given_answer":
            user = self._config.reverse.replace("{answer}", user)
        system = slots.get("system", self._config.system)
        messages = [{"role": "system", "content": system}] if system else []
        for index, role in enumerate(roles):
            messages.append({"role": role, "content": slots[turn_slot(index)]})
        messages.append({"role": "user", "content": user})
        text = self._template.render(
            {
                **self._variables,
                "messages": messages,
                "add_generation_prompt": likelihood != "query",
            }
        )
        # A record's system text is checked as a slot; the recipe's only has to be there.
        if system and "system" not in slots and system.strip() not in text:
            raise PromptError(f"{self._template.origin}: the template leaves out the system text")
        return text


def _what(has_system: bool, roles: Sequence[str]) -> str:
    """What is particular of the records that a shape is for."""
    said = ", ".join(roles[:10]) + (", …" if len(roles) > 10 else "")
    system = "in a record with a system text of its own" if has_system else ""
    talk = f"in a conversation whose query follows the turns {said}" if roles else ""
    return ", ".join(filter(None, (system, talk)))
