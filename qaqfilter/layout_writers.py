"""The way back: what a row says, written in another layout, with its other fields around it.

LAYOUTS[name].read reads what WRITERS[name] writes. A writer raises ValueError for what its layout
has no place for: nothing is left out without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from qaqfilter.conversations import Role, beside, every_turn
from qaqfilter.layouts import LAYOUTS, Content, FieldMap
from qaqfilter.row_fields import MISSING, Row, find, optional, short

_SYSTEM = "system"


class Spoken(NamedTuple):
    """One turn. `rest` is what the row says of it beside that: a weight, a name."""

    role: Role
    text: str
    rest: Mapping[str, Any]


class Talk(NamedTuple):
    """All that a row says: system text and turns, those behind the last answer too.

    `listed`: the row holds turns; else it is a pair of texts.
    """

    system: Spoken | None
    turns: tuple[Spoken, ...]
    listed: bool


def talk_of(content: Content, row: Row, layout: str | None, drop: Collection[str] = ()) -> Talk:
    """What `row` says, which was read as `content` in `layout` (None: by the names of fields).

    `drop` are the fields of turns to leave out. Raises ValueError as reading does.
    """
    turns = _turns_in(row, layout)
    if turns is None:
        pair = Spoken("user", content.query, {}), Spoken("assistant", content.answer, {})
        return Talk(_system(content.system, {}), pair, listed=False)
    rests = [{k: v for k, v in beside(turn).items() if k not in drop} for turn in turns]
    system, said = every_turn(turns, optional(row, _SYSTEM))
    own = rests[0] if said and said[0].number > 1 else {}
    spoken = tuple(Spoken(turn.role, turn.text, rests[turn.number - 1]) for turn in said)
    return Talk(_system(system, own), spoken, listed=True)


def taken_by(layout: str | None, fields: FieldMap | None) -> Sequence[str]:
    """The fields whose content moves when a row leaves a layout."""
    if fields is not None:
        named = fields.query, fields.answer, fields.system, fields.id
        return [name for name in named if name is not None]
    more = ("input",) if layout == "alpaca" else ()
    return (*(LAYOUTS[layout].known_by if layout else ()), *more, _SYSTEM)


def in_place(
    row: Row, taken: Sequence[str], new: Row, drop: Collection[str] = ()
) -> dict[str, Any]:
    """`row` with the fields `new` where the first of `taken` stood; the others stay.

    Raises ValueError where a field that stays has the name of a new one.
    """
    tops = {name if name in row else name.partition(".")[0] for name in taken}
    found: dict[str, Any] = {}
    put = False
    for name, value in row.items():
        if name in tops and not put:
            found |= new
            put = True
        rest = _without(name, value, row, taken) if name in tops else value
        if rest is MISSING or name in drop:
            continue
        if name in new:
            raise ValueError(
                f"the row has a field '{short(name)}' already: rename it, or leave it out with "
                f"--drop {short(name)}"
            )
        found[name] = rest
    return found if put else {**new, **found}


def _without(name: str, value: object, row: Row, taken: Sequence[str]) -> object:
    """What is left of a row's field; MISSING where nothing is."""
    if name in taken:
        return MISSING
    paths = [path for path in taken if path not in row and path.startswith(f"{name}.")]
    if not isinstance(value, Mapping) or not paths:
        return value
    inner = [path.removeprefix(f"{name}.") for path in paths]
    tops = {path if path in value else path.partition(".")[0] for path in inner}
    left = {k: _without(k, v, value, inner) if k in tops else v for k, v in value.items()}
    return {k: v for k, v in left.items() if v is not MISSING} or MISSING


def _turns_in(row: Row, layout: str | None) -> list[Any] | None:
    """The list of turns in a row that was read; None where it holds a pair of texts."""
    if layout is not None and LAYOUTS[layout].turns:
        found = find(row, LAYOUTS[layout].known_by[0])
        return found if isinstance(found, list) else []
    if layout == "prompt_completion" and isinstance(row["prompt"], list):
        return [*row["prompt"], *row["completion"]]
    return None


def _system(text: str | None, rest: Mapping[str, Any]) -> Spoken | None:
    return Spoken("system", text, rest) if text else None


def _as_pair(talk: Talk, query: str, answer: str) -> dict[str, Any]:
    """A query and its answer, if that is all there is."""
    last = max(n for n, turn in enumerate(talk.turns) if turn.role == "assistant")
    _no_turns(talk, behind=last)
    if last > 1:
        raise ValueError(f"{last - 1} earlier turns, which this layout has no place for")
    if talk.turns[0].role != "user":
        raise ValueError(f"the query is a {talk.turns[0].role} turn, which this layout cannot say")
    for turn in (*talk.turns, *([talk.system] if talk.system else ())):
        for name, value in turn.rest.items():
            if value is not None:  # a table has null where a turn lacks the field
                raise ValueError(
                    f"a turn has a field '{short(name)}', which this layout has no place for: "
                    f"leave it out with --drop {short(name)}"
                )
    system = {_SYSTEM: talk.system.text} if talk.system else {}
    return {**system, query: talk.turns[0].text, answer: talk.turns[1].text}


def _no_turns(talk: Talk, *, behind: int) -> None:
    if more := len(talk.turns) - 1 - behind:
        turns = "a turn" if more == 1 else f"{more} turns"
        raise ValueError(f"{turns} behind the last answer, which this layout has no place for")


def _alpaca(talk: Talk) -> dict[str, Any]:
    """With an empty `input`, since those who read Alpaca expect the field."""
    pair = _as_pair(talk, "instruction", "output")
    output = pair.pop("output")
    return {**pair, "input": "", "output": output}


def _prompt_completion(talk: Talk) -> dict[str, Any]:
    """Two lists where the row held turns, else two texts: a column has one type."""
    if not talk.listed:
        return _as_pair(talk, "prompt", "completion")
    last = max(n for n, turn in enumerate(talk.turns) if turn.role == "assistant")
    _no_turns(talk, behind=last)
    messages = _list(talk, "role", "content", {})
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _list(talk: Talk, role: str, text: str, words: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for turn in (*([talk.system] if talk.system else ()), *talk.turns):
        if name := next((name for name in (role, text) if name in turn.rest), None):
            raise ValueError(
                f"a turn has a field '{name}' of another meaning: rename it, or leave it out with "
                f"--drop {name}"
            )
        found.append({role: words.get(turn.role, turn.role), text: turn.text, **turn.rest})
    return found


_SHAREGPT = {"user": "human", "assistant": "gpt"}

WRITERS: Mapping[str, Callable[[Talk], dict[str, Any]]] = {
    "messages": lambda talk: {"messages": _list(talk, "role", "content", {})},
    "conversations": lambda talk: {"conversations": _list(talk, "from", "value", _SHAREGPT)},
    "prompt_completion": _prompt_completion,
    "query_answer": lambda talk: _as_pair(talk, "query", "answer"),
    "query_response": lambda talk: _as_pair(talk, "query", "response"),
    "problem_solution": lambda talk: _as_pair(talk, "problem", "solution"),
    "alpaca": _alpaca,
}
"""A function for each of LAYOUTS: the fields in which that layout says it all."""
