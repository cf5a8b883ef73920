"""Conversations: a list of turns -> system, history, query and answer.

The last assistant turn is the answer, the turn before it the query, and what stands before that is
context, in which earlier exchanges may be scored too. Turns behind the answer are not scored, since
nothing answers them.

Two ways to write a turn are read, and may stand side by side: {role, content} (OpenAI, TRL) and
{from, value} (ShareGPT). Everything here raises ValueError for what is no such conversation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from qaqfilter.row_fields import kind, short
from qaqfilter.types import Turn

Role = Literal["system", "user", "assistant", "tool"]

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "claude", "model", "bot"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
    **dict.fromkeys(("tool_response", "function_response"), "tool"),
}
_CALLS = ("function_call", "tool_call")


class Dialogue(NamedTuple):
    """What a conversation comes to. `system` is None where there is none."""

    query: str
    answer: str
    system: str | None
    history: tuple[Turn, ...]


class Said(NamedTuple):
    """A turn as it was written, its number (from 1) for messages."""

    number: int
    role: Role
    text: str


def last_turn(turns: object, system: str | None = None) -> Dialogue:
    """The conversation up to its last answer; `system` is what the row says beside it."""
    system, said = every_turn(turns, system)
    while said and said[-1].role != "assistant":
        said.pop()
    if not said:
        raise ValueError("a conversation without an assistant turn: there is no answer")
    *history, answer = said
    if not history or history[-1].role == "assistant":
        raise ValueError(
            f"turn {answer.number}, the last assistant turn, has no user or tool turn before it: "
            "there is no query"
        )
    query = history.pop()
    earlier = tuple(Turn(turn.role, turn.text) for turn in history if turn.role != "system")
    return Dialogue(query.text, answer.text, system, earlier)


def earlier_exchanges(history: Sequence[Turn]) -> tuple[int, ...]:
    """Places of the queries that an assistant's turn answers; the answer is the turn behind each.

    An assistant's turn without a user's or a tool's right before it answers nothing.
    """
    return tuple(
        place
        for place, (said, answer) in enumerate(pairwise(history))
        if said.role != "assistant" and answer.role == "assistant"
    )


def every_turn(turns: object, system: str | None = None) -> tuple[str | None, list[Said]]:
    """The system text, and all turns but the system's, those behind the last answer too."""
    if not isinstance(turns, list):
        raise ValueError(f"the conversation is {kind(turns)}, not a list of turns")
    said = [_said(turn, number) for number, turn in enumerate(turns, start=1)]
    if said and said[0].role == "system":
        system = _one_system(said.pop(0).text, system)
    if again := next((turn for turn in said if turn.role == "system"), None):
        raise ValueError(f"turn {again.number} is a system turn, which only the first may be")
    return system, said


def beside(turn: Mapping[str, Any]) -> dict[str, Any]:
    """What a turn holds beside who says what."""
    own = ("role", "content") if "role" in turn else ("from", "value")
    return {name: value for name, value in turn.items() if name not in own}


def _one_system(turn: str, beside: str | None) -> str | None:
    if turn and beside and turn != beside:
        raise ValueError("the system turn and the field 'system' hold different texts")
    return turn or beside


def _said(turn: object, number: int) -> Said:
    """One turn. An assistant's call of a tool has no text that could be scored or shown."""
    if not isinstance(turn, Mapping):
        raise ValueError(f"turn {number} is {kind(turn)}, not an object")
    own = "role" if "role" in turn or "from" not in turn else "from"
    said_by, said = turn.get(own), turn.get("content" if own == "role" else "value")
    if not isinstance(said_by, str):
        what = kind(said_by) if own in turn else "missing"
        raise ValueError(f"turn {number}: `{own}` is {what}, not text")
    name = said_by.strip().lower()
    calls = turn.get("tool_calls") or turn.get("function_call")
    if name in _CALLS or (calls and not said):
        raise ValueError(f"turn {number} is a tool call without text, which cannot be scored yet")
    role = _ROLES.get(name)
    if role is None:
        raise ValueError(
            f"turn {number}: '{short(said_by)}' is no known role; there are: {', '.join(_ROLES)}"
        )
    return Said(number, role, said if isinstance(said, str) else _joined(said, number, role))


def _joined(content: object, number: int, role: str) -> str:
    """The parts of a content one after the other, as chat templates write them."""
    where = f"turn {number} ({role})"
    if not isinstance(content, list):
        raise ValueError(f"{where}: its content is {kind(content)}, not text")
    return "".join(_part(part, where) for part in content)


def _part(part: object, where: str) -> str:
    if not isinstance(part, Mapping):
        raise ValueError(f"{where}: a part of its content is {kind(part)}, not an object")
    form, text = part.get("type"), part.get("text")
    if form != "text":
        named = f"'{short(form)}'" if isinstance(form, str) else kind(form)
        raise ValueError(f"{where}: a part of type {named}; only text can be scored")
    if not isinstance(text, str):
        raise ValueError(f"{where}: the `text` of a part is {kind(text)}, not text")
    return text
