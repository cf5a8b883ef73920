"""Jinja templates of the recipe, one for each likelihood that its steps ask for."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from qaqfilter import LIKELIHOODS, Backend, Options, PromptError, Record, Request, Resources
from qaqfilter.prompts import Shape, Template, cut, unknown_names

_SLOTS = ("query", "answer", "system")
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
    `{{ system }}` is empty for a record without a system text.
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
        self._shapes: dict[tuple[str, bool], Shape] = {}
        for likelihood in LIKELIHOODS:
            source = getattr(config, likelihood)
            if source is not None:
                for has_system in (False, True):
                    shape = _shape(likelihood, source, has_system)
                    self._shapes[likelihood, has_system] = shape

    def request(self, likelihood: str, record: Record) -> Request:
        """The request for one likelihood. PromptError where the recipe has no template for it."""
        shape = self._shapes.get((likelihood, bool(record.system)))
        if shape is None:
            raise PromptError(
                f"a step needs the likelihood {likelihood}, but the prompt has no template for "
                f"it: add `{likelihood}: ...` beside `use: jinja`"
            )
        values = {"query": record.query, "answer": record.answer, "system": record.system or ""}
        return shape.request(values)


def _shape(likelihood: str, source: str, has_system: bool) -> Shape:
    origin = f"prompt template `{likelihood}`"
    if unknown := unknown_names(source, _SLOTS):
        raise PromptError(f"{origin}: unknown name {unknown[0]!r}; there are: {', '.join(_SLOTS)}")
    template = Template(source, origin)
    target, given = _TARGET_AND_GIVEN[likelihood]
    other = "answer" if target == "query" else "query"
    return cut(
        lambda slots: template.render({"system": "", **slots}),
        origin,
        given=() if given is None else (given,),
        optional=("system",) if has_system else (),
        forbidden=(other,) if given is None else (),
        target=target,
    )
