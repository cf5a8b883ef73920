"""Prompts as segments: template text, with the data standing in it untouched.

A template is rendered once for each *shape* (a likelihood, with or without a system text, after
earlier turns of these roles), with a sentinel in place of each piece of data. Each sentinel must
come out exactly once and unchanged; the text is split there. What stands between the sentinels is
markup, and the slots are filled with each record's data afterwards, so a record costs no
rendering, and its data cannot become template text:

    cut(render, ...) -> Shape,  Shape.request(data_of(record)) -> Request

Everything here raises PromptError, and nothing else, for a template that cannot be used.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from qaqfilter.errors import PromptError
from qaqfilter.types import Record, Request, Segment

Render = Callable[[Mapping[str, str]], str]
"""Renders a prompt with the given text for each slot."""

SHAPES = 512
"""Shapes that a format should remember: conversations of many lengths come again and again."""

_FILLER = ("Lorem ipsum dolor sit amet. " * 20 + "\n") * 30  # longer than any likely truncation
_ROOM = 1 << 20  # characters of filler in a prompt; conversations may have thousands of slots
_CORE = re.compile("qaq([0-9]+)slot", re.IGNORECASE)


def turn_slot(index: int) -> str:
    """The slot of an earlier turn of the conversation, by its index in the history."""
    return f"earlier turn {index + 1}"


def data_of(record: Record) -> dict[str, str]:
    """A record's texts by slot: query, answer, system (empty where there is none), each turn."""
    data = {"query": record.query, "answer": record.answer, "system": record.system or ""}
    for index, turn in enumerate(record.history):
        data[turn_slot(index)] = turn.text
    return data


@dataclass(frozen=True, slots=True)
class Shape:
    """A prompt with its data left out: markup segments and names of slots, then the target."""

    context: tuple[Segment | str, ...]
    target: str

    def request(self, values: Mapping[str, str]) -> Request:
        """Fill the slots with one record's data."""
        context = [Segment(values[p]) if isinstance(p, str) else p for p in self.context]
        return Request(tuple(context), Segment(values[self.target]))


def cut(
    render: Render,
    origin: str,
    *,
    given: Sequence[str] = (),
    optional: Sequence[str] = (),
    forbidden: Sequence[str] = (),
    target: str,
    inside: bool = True,
    trim: bool | None = None,
) -> Shape:
    """Render with sentinels and split there.

    The rendering up to the target (to its end where the target is not `inside`, but follows it)
    must hold each slot of `given` once, each of `optional` once or never, none of `forbidden`.
    `origin` names the template in messages. `trim` is the value of the format's option of that
    name, None where it has none: with True the data have no white space around them.
    """
    shapes = set()
    names = [*given, *optional, *forbidden, *([target] if inside else [])]
    for filler in (_FILLER[: _ROOM // max(1, len(names))], ""):  # a template may look at lengths
        slots = {name: _Slot(name, n, filler, trim) for n, name in enumerate(names)}
        text = render({name: slot.text for name, slot in slots.items()})
        found = _Found(text, tuple(slots.values()), origin)
        if inside:
            end = found.require(slots[target])
            found = _Found(text[:end], tuple(slots.values()), origin)
        used = [*given, *(name for name in optional if found.mentions[slots[name].number])]
        places = {found.require(slots[name]): slots[name] for name in used}
        for name in forbidden:
            if found.mentions[slots[name].number]:
                raise PromptError(f"{origin}: the {name} must not stand before the {target} here")
        shapes.add(Shape(_pieces(found.text, places), target))
    if len(shapes) > 1:
        held = [name for name in names if name not in forbidden]
        data = " or ".join([*held[:4], *(["another text"] if len(held) > 4 else [])])
        raise PromptError(f"{origin}: the template's own text depends on what the {data} holds")
    return shapes.pop()


def _pieces(text: str, places: Mapping[int, _Slot]) -> tuple[Segment | str, ...]:
    """Split `text` at the sentinels, given where each begins; empty pieces are left out."""
    pieces: list[Segment | str] = []
    done = 0
    for place in sorted(places):
        if done < place:
            pieces.append(Segment(text[done:place], markup=True))
        pieces.append(places[place].name)
        done = place + len(places[place].text)
    return (*pieces, Segment(text[done:], markup=True)) if done < len(text) else tuple(pieces)


class _Slot:
    """A slot's sentinel, made so that whatever a template does to it shows."""

    def __init__(self, name: str, number: int, filler: str, trim: bool | None) -> None:
        self.name = name
        self.number = number
        self.trim = trim
        self.end = f"Qaq{number}End"
        # White space to trim or collapse; cases; what JSON and HTML escape; a non-ASCII letter.
        # `_CORE` finds the first word, which survives changes of case, and all that follows it.
        body = f"<Qaq{number}Slot é & \"Q\" 'q'\n\n\t{filler}  {self.end}\\>"
        self.text = body if trim else f"\n  {body}  \n"


class _Found:
    """A rendered text and where sentinels stand in it, found in one pass for all of them."""

    def __init__(self, text: str, slots: Sequence[_Slot], origin: str) -> None:
        self.text = text
        self.mentions: Counter[int] = Counter()
        self._origin = origin
        self._places: dict[int, list[int]] = {}
        for match in _CORE.finditer(text):
            number = int(match[1])
            self.mentions[number] += 1
            if number < len(slots):
                slot = slots[number]
                place = match.start() - slot.text.index("Qaq")
                if place >= 0 and text.startswith(slot.text, place):
                    self._places.setdefault(number, []).append(place)

    def require(self, slot: _Slot) -> int:
        """Where the sentinel begins. PromptError unless it stands here once and unchanged."""
        places = self._places.get(slot.number, [])
        if not places:
            self._fail(slot, self._change(slot))
        if len(places) > 1:
            self._fail(slot, f"repeats it ({len(places)} times)")
        if self.mentions[slot.number] > 1:
            self._fail(slot, "repeats it in another form")
        return places[0]

    def _change(self, slot: _Slot) -> str:
        """What a template did with data that are not in the text as they should be."""
        text, bare = self.text, slot.text.strip()
        if not self.mentions[slot.number]:
            return "drops it"
        if bare in text:
            hint = "; `trim: true` strips the data in every likelihood alike"
            return f"trims the white space around it{hint if slot.trim is False else ''}"
        changes = {
            "escapes it as JSON": json.dumps(bare, ensure_ascii=False)[1:-1],
            "escapes it for HTML": html.escape(bare, quote=False),
            "lowercases it": bare.lower(),
            "uppercases it": bare.upper(),
        }
        unquoted = text.replace("&#34;", '"').replace("&#39;", "'")
        for change, result in changes.items():
            if result in text or result in unquoted:
                return change
        return "changes it" if slot.end.lower() in text.lower() else "cuts it short"

    def _fail(self, slot: _Slot, what: str) -> NoReturn:
        raise PromptError(
            f"{self._origin}: a prompt must hold the {slot.name} once and untouched, "
            f"but the template {what}"
        )
