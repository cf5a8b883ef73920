"""Layouts: where the query and the answer stand in a parsed row.

A layout is a name, the fields by which it is known, and a function from row to Content. To add
one, write the function and put it into LAYOUTS; detection and messages follow, and its name goes
into `layout_options.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from qaqfilter.conversations import Dialogue, earlier_exchanges, last_turn
from qaqfilter.errors import SourceError
from qaqfilter.options import Options
from qaqfilter.row_fields import Row, find, kind, label, names, optional, present, text
from qaqfilter.types import Origin, Record, Turn

Turns = Literal["last", "each", "all"]
"""Which exchanges of a conversation are scored: the last, each for itself, or all together."""


class Content(NamedTuple):
    """What a record is made of. `system` is None where there is none, `id` never empty.

    `history`, `earlier`, `pooled` and `input` are as in `Record`.
    """

    query: str
    answer: str
    system: str | None
    id: str
    history: tuple[Turn, ...] = ()
    earlier: tuple[int, ...] = ()
    pooled: bool = False
    input: str = ""

    def scoring(self, turns: Turns) -> Content:
        """The same, with earlier exchanges to be scored too, where there are any."""
        earlier = () if turns == "last" else earlier_exchanges(self.history)
        return self._replace(earlier=earlier, pooled=turns == "all") if earlier else self

    def record(self, row: bytes, origin: Origin, fields: Mapping[str, Any]) -> Record:
        """The record: this content, and the row it was read from."""
        return Record(
            self.id,
            self.query,
            self.answer,
            row,
            origin,
            self.system,
            fields,
            self.history,
            self.earlier,
            self.pooled,
            self.input,
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to write a record. `read` raises ValueError for a row that does not keep to it.

    A row may be in it if it has all the fields of `known_by`, holding lists where they are turns.
    """

    name: str
    known_by: tuple[str, ...]
    read: Callable[[Row], Content]
    turns: bool = False

    def scoring(self, turns: Turns) -> Layout:
        """The layout as one that reads what `turns` of a recipe asks for."""
        if turns == "last":
            return self
        return replace(self, read=lambda row: self.read(row).scoring(turns))

    def fits(self, row: Row) -> bool:
        """Whether `row` may be in this layout, by its fields alone."""
        return all(
            key in row and (not self.turns or isinstance(row[key], list)) for key in self.known_by
        )


class FieldMap(Options):
    """Names of the fields; a dot goes into a nested object: `meta.task`."""

    query: str | None = Field(None, min_length=1, description="The field that holds the query.")
    answer: str | None = Field(None, min_length=1, description="The field that holds the answer.")
    conversation: str | None = Field(
        None,
        min_length=1,
        description="Instead of both: the field that holds a list of turns, each with `role` and "
        "`content`, or `from` and `value`.",
    )
    id: str | None = Field(
        None, description="The field that holds the id; else `id`, else a digest of the content."
    )
    system: str | None = Field(
        None, description="The field that holds the system text; it may be missing or null."
    )

    @model_validator(mode="after")
    def _either(self) -> FieldMap:
        if (self.query is None) != (self.answer is None) or (
            (self.query is None) == (self.conversation is None)
        ):
            raise ValueError("name `query` and `answer`, or `conversation` instead of both")
        return self


def _alpaca(row: Row) -> Content:
    """`input`, where it is not empty, is the query's second paragraph."""
    query, more = text(row, "instruction"), optional(row, "input") or ""
    if more:
        query = f"{query}\n{more}"
    found = _content(row, query, text(row, "output"), optional(row, "system"))
    return found._replace(input=more) if more else found


def _prompt_completion(row: Row) -> Content:
    """Two texts; or two lists of messages, which are one conversation."""
    prompt, completion = present(row, "prompt"), present(row, "completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return _dialogue(row, last_turn([*prompt, *completion], optional(row, "system")))
    if isinstance(prompt, list) or isinstance(completion, list):
        raise ValueError(
            f"field 'prompt' is {kind(prompt)} and 'completion' {kind(completion)}: "
            "both must be text, or both lists of messages"
        )
    return _pair(row, "prompt", "completion")


def _pair(row: Row, query: str, answer: str) -> Content:
    return _content(row, text(row, query), text(row, answer), optional(row, "system"))


def _pair_in(query: str, answer: str) -> Layout:
    return Layout(f"{query}_{answer}", (query, answer), lambda row: _pair(row, query, answer))


def _turns_in(name: str) -> Layout:
    def read(row: Row) -> Content:
        return _dialogue(row, last_turn(present(row, name), optional(row, "system")))

    return Layout(name, (name,), read, turns=True)


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        _turns_in("messages"),
        _turns_in("conversations"),
        Layout("prompt_completion", ("prompt", "completion"), _prompt_completion),
        _pair_in("query", "answer"),
        _pair_in("query", "response"),
        _pair_in("problem", "solution"),
        Layout("alpaca", ("instruction", "output"), _alpaca),
    )
}
"""In the order of detection: conversations first, since a file that has both a conversation and
pairs of texts holds in the pairs a part of the conversation."""


def by_fields(wanted: FieldMap) -> Layout:
    """The layout that a recipe spells out."""

    def read(row: Row) -> Content:
        system = None if wanted.system is None else optional(row, wanted.system)
        if wanted.conversation is not None:
            content = _dialogue(row, last_turn(present(row, wanted.conversation), system))
        else:
            assert wanted.query is not None and wanted.answer is not None, "as validated"
            content = _content(row, text(row, wanted.query), text(row, wanted.answer), system)
        if wanted.id is None:
            return content
        own = label(find(row, wanted.id))
        if own is None:
            raise ValueError(f"field {wanted.id!r} is missing, or no text or whole number")
        return content._replace(id=own)

    return Layout("fields", (), read)


def detect(row: Row) -> Sequence[str]:
    """Names of the layouts that `row` fits, the first of LAYOUTS first; that one holds.

    Raises SourceError, with the fix, where there is none.
    """
    if found := [name for name, layout in LAYOUTS.items() if layout.fits(row)]:
        return found
    known = "; ".join(f"{lay.name} ({', '.join(lay.known_by)})" for lay in LAYOUTS.values())
    raise SourceError(
        f"the row fits no layout: {known}. Its fields: {names(row)}. "
        "Name them: `fields: {query: <field>, answer: <field>}`"
    )


def content_id(query: str, answer: str, system: str | None, history: Sequence[Turn] = ()) -> str:
    """blake2b-128, in hex, of system, query, answer and the history's roles and texts.

    Each in UTF-8, after its length in bytes; no system text counts as an empty one.
    """
    digest = _NO_SYSTEM.copy() if not system else blake2b(_with_length(system), digest_size=16)
    digest.update(_with_length(query))
    digest.update(_with_length(answer))
    for turn in history:
        digest.update(_with_length(turn.role))
        digest.update(_with_length(turn.text))
    return digest.hexdigest()


def _with_length(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(8, "little") + data


_NO_SYSTEM = blake2b(_with_length(""), digest_size=16)


def _content(
    row: Row, query: str, answer: str, system: str | None, history: tuple[Turn, ...] = ()
) -> Content:
    own = label(row.get("id")) or content_id(query, answer, system, history)
    return Content(query, answer, system, own, history)


def _dialogue(row: Row, found: Dialogue) -> Content:
    return _content(row, found.query, found.answer, found.system, found.history)
