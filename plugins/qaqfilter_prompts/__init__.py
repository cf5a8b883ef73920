"""Prompt formats: `plain` text, the model's `chat` template, and `jinja` templates of your own."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, PromptFormat, hookimpl
from qaqfilter_prompts.chat import Chat, ChatOptions
from qaqfilter_prompts.jinja import Jinja, JinjaOptions
from qaqfilter_prompts.plain import Plain, PlainOptions

__all__ = ["qaqfilter_prompts"]


@hookimpl
def qaqfilter_prompts() -> Iterator[Component[PromptFormat]]:
    """The three formats."""
    yield Component("plain", PlainOptions, Plain, "the bare text of both sides, for base models")
    yield Component("chat", ChatOptions, Chat, "a chat template: the model's own, or one you name")
    yield Component("jinja", JinjaOptions, Jinja, "a Jinja template of yours for each likelihood")
