"""Jinja templates of the recipe, one for each likelihood that its steps ask for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from pydantic import Field, model_validator

from qaqfilter import LIKELIHOODS, Backend, Options, PromptError, Record, Request, Resources
from qaqfilter.prompts import SHAPES, Shape, cut, data_of, turn_slot
from qaqfilter.sandbox import Template, unknown_names

_NAMES = ("query", "answer", "system", "history")
_TARGET_AND_GIVEN: Mapping[str, tuple[str, str | None]] = {
    "query": ("query", None),
    "answer_given_query": ("answer", "query"),
    "answer": ("answer", None),
    "query_given_answer": ("query", "answer"),
}
_RULE = "`{{ query }}`, `{{ answer }}` and `{{ system }}` stand for the record's texts"


class JinjaOptions(Options):
    """Your own templates. Only the likelihoods that the steps ask for need one.

    The side that is scored must occur in its template exactly once; what follows it is ignored.
    `{{ system }}` is empty for a record without a system text. `history` is the list of earlier
    turns, each with `role` and `content`: empty for most records, left out where a template does
    not use it, and before the sides where it does.
    """

    query: str | None = Field(None, description=f"Where the query is scored, alone. {_RULE}.")
    answer: str | None = Field(None, description="Where the answer is scored, alone.")
    answer_given_query: str | None = Field(
        None, description="Where the answer is scored; it must hold the query before the answer."
    )
    query_given_answer: str | None = Field(
        None, description="Where the query is scored; it must hold the answer before the query."
    )

    @model_validator(mode="after")
    def _any(self) -> JinjaOptions:
        if all(getattr(self, name) is None for name in LIKELIHOODS):
            raise ValueError(f"give at least one template, of {', '.join(LIKELIHOODS)}")
        return self


class Jinja:
    """The jinja format. Every template is checked when the format is created."""

    def __init__(self, config: JinjaOptions, backend: Backend, resources: Resources) -> None:
        self._templates: dict[str, Template] = {}
        self._shape = lru_cache(SHAPES)(self._new_shape)
        for likelihood in LIKELIHOODS:
            source = getattr(config, likelihood)
            if source is not None:
                self._templates[likelihood] = _checked(source, f"prompt template `{likelihood}`")
                for has_system in (False, True):
                    for roles in ((), ("user", "assistant")):
                        self._shape(likelihood, has_system, roles)

    def request(self, likelihood: str, record: Record) -> Request:
        """The request for one likelihood. PromptError where the recipe has no template for it."""
        if likelihood not in self._templates:
            raise PromptError(
                f"a step needs the likelihood {likelihood}, but the prompt has no template for "
                f"it: add `{likelihood}: ...` beside `use: jinja`"
            )
        roles = tuple(turn.role for turn in record.history)
        return self._shape(likelihood, bool(record.system), roles).request(data_of(record))

    def _new_shape(self, likelihood: str, has_system: bool, roles: tuple[str, ...]) -> Shape:
        template = self._templates[likelihood]
        target, given = _TARGET_AND_GIVEN[likelihood]
        other = "answer" if target == "query" else "query"
        turns = [turn_slot(index) for index in range(len(roles))]

        def render(slots: Mapping[str, str]) -> str:
            said = zip(roles, turns, strict=True)
            history = [{"role": role, "content": slots[turn]} for role, turn in said]
            return template.render(
                {
                    "system": slots.get("system", ""),
                    "history": history,
                    **{side: slots[side] for side in ("query", "answer") if side in slots},
                }
            )

        shape = cut(
            render,
            template.origin,
            given=() if given is None else (given,),
            optional=(*(("system",) if has_system else ()), *turns),
            forbidden=(other,) if given is None else (),
            target=target,
        )
        late = shape.context[shape.context.index(given) :] if given else ()
        if not set(turns).isdisjoint(late):
            raise PromptError(f"{template.origin}: the history must stand before the {given}")
        return shape


def _checked(source: str, origin: str) -> Template:
    if unknown := unknown_names(source, _NAMES):
        raise PromptError(f"{origin}: unknown name {unknown[0]!r}; there are: {', '.join(_NAMES)}")
    return Template(source, origin)
