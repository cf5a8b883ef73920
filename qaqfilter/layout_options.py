"""The options by which a recipe says how its rows are laid out, the same in every source.

A source's options inherit LayoutOptions; `find_layout` makes a layout of them, with the help of
the first rows where the recipe leaves it to them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from qaqfilter.errors import SourceError
from qaqfilter.layouts import LAYOUTS, FieldMap, Layout, Turns, by_fields, detect
from qaqfilter.options import Options, RecipeGlob
from qaqfilter.row_fields import Row

_log = logging.getLogger(__name__)
_LOOK_AT = 100  # rows that may be bad before `layout: auto` gives up

LayoutName = Literal[
    "auto",
    "messages",
    "conversations",
    "prompt_completion",
    "query_answer",
    "query_response",
    "problem_solution",
    "alpaca",
]


class LayoutOptions(Options):
    """How a source's rows are read."""

    layout: LayoutName = Field(
        "auto",
        description="Where query and answer stand; [Your data](data.md#layouts) shows each layout. "
        "`auto` looks at the first rows, and says what it found.",
    )
    fields: FieldMap | None = Field(
        None, description="The fields by name, where no layout fits: {query: ..., answer: ...}."
    )
    turns: Turns = Field(
        "last",
        description="What of a conversation is scored. `last`: the last assistant turn is the "
        "answer, the turn before it the query, and all before that is context. `each`: every "
        "answer, with all before it as context; a step's `combine` makes one score of theirs. "
        "`all`: every answer likewise, their log-likelihoods added up as if they were one.",
    )

    @model_validator(mode="after")
    def _one_layout(self) -> LayoutOptions:
        if self.fields is not None and self.layout != "auto":
            raise ValueError("layout and fields exclude each other")
        return self


class TableFileOptions(LayoutOptions):
    """Files of rows that all have the same columns."""

    path: RecipeGlob | Annotated[list[RecipeGlob], Field(min_length=1)] = Field(
        description="One or more files, relative to the recipe, or addresses "
        "(`s3://bucket/folder/*`); `*`, `?`, `[ab]` and `**` match several, which are read in the "
        "order of their names. All have the same columns. `-` is standard input. See [Data "
        "elsewhere](remote.md)."
    )

    @property
    def patterns(self) -> list[str]:
        """`path` as a list."""
        return [self.path] if isinstance(self.path, str) else list(self.path)


def find_layout(options: LayoutOptions, rows: Iterable[tuple[object, Row]]) -> Layout:
    """The layout that the recipe names, or that of the first rows: (place, row), read lazily.

    Raises SourceError where `layout: auto` finds none among them. Without any row it is the first
    layout, since what there is is bad in any.
    """
    return _found(options, rows).scoring(options.turns)


def _found(options: LayoutOptions, rows: Iterable[tuple[object, Row]]) -> Layout:
    if options.fields is not None:
        return by_fields(options.fields)
    if options.layout != "auto":
        return LAYOUTS[options.layout]
    problems: list[str] = []
    for place, row in rows:
        try:
            name, *others = detect(row)
        except SourceError as error:
            problems.append(f"{place}: {error}")
            if len(problems) == _LOOK_AT:
                break
            continue
        beside = f", which goes before {', '.join(others)}" if others else ""
        _log.info(
            "%s: layout %s%s (name another with input.layout or input.fields)", place, name, beside
        )
        return LAYOUTS[name]
    if problems:
        raise SourceError(problems[0])
    return next(iter(LAYOUTS.values()))
