"""Prompt formats: `plain`, `chat`, `jinja`, and the texts of four published scripts."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, PromptFormat, hookimpl
from qaqfilter_prompts.chat import Chat, ChatOptions
from qaqfilter_prompts.cherry import Cherry, CherryOptions
from qaqfilter_prompts.jinja import Jinja, JinjaOptions
from qaqfilter_prompts.plain import Plain, PlainOptions
from qaqfilter_prompts.qaq_repo import QaqRepo, QaqRepoOptions
from qaqfilter_prompts.reflection_tuning import ReflectionTuning, ReflectionTuningOptions
from qaqfilter_prompts.superfiltering import Superfiltering, SuperfilteringOptions

__all__ = ["qaqfilter_prompts"]


@hookimpl
def qaqfilter_prompts() -> Iterator[Component[PromptFormat]]:
    """The three formats, and those of scripts; presets name them."""
    yield Component("plain", PlainOptions, Plain, "the bare text of both sides, for base models")
    yield Component("chat", ChatOptions, Chat, "a chat template: the model's own, or one you name")
    yield Component("jinja", JinjaOptions, Jinja, "a Jinja template of yours for each likelihood")
    yield Component(
        "superfiltering", SuperfilteringOptions, Superfiltering, "as Superfiltering's script asks"
    )
    yield Component("cherry", CherryOptions, Cherry, "as Cherry_LLM's scripts ask")
    yield Component(
        "reflection_tuning",
        ReflectionTuningOptions,
        ReflectionTuning,
        "as Selective Reflection-Tuning's script asks",
    )
    yield Component("qaq_repo", QaqRepoOptions, QaqRepo, "as QAQ's script asks")
