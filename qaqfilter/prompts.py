"""Prompts as segments: template text, with the data standing in it untouched.

A template is rendered once for each *shape* (a likelihood, with or without a system text), with a
sentinel in place of each piece of data. Each sentinel must come out exactly once and unchanged;
the text is split there. What stands between the sentinels is markup, and the slots are filled
with each record's data afterwards, so a record costs no rendering, and its data cannot become
template text:

    cut(render, ...) -> Shape,  Shape.request(values) -> Request

Everything here raises PromptError, and nothing else, for a template that cannot be used.
"""

from __future__ import annotations

import datetime
import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from qaqfilter.errors import PromptError
from qaqfilter.types import Request, Segment

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FIXED_DATE = datetime.date(2025, 1, 1)
"""What `strftime_now` tells a template, unless told otherwise: numbers must not change by day."""

Render = Callable[[Mapping[str, str]], str]
"""Renders a prompt with the given text for each slot."""

_FILLER = ("Lorem ipsum dolor sit amet. " * 20 + "\n") * 30  # longer than any likely truncation


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
    for filler in (_FILLER, ""):  # two lengths, to notice a template that looks at its data
        names = [*given, *optional, *forbidden, *([target] if inside else [])]
        slots = {name: _Slot(name, n, filler, trim) for n, name in enumerate(names)}
        text = render({name: slot.text for name, slot in slots.items()})
        if inside:
            slots[target].require(text, origin)
            text = text[: text.index(slots[target].text)]
        for name in given:
            slots[name].require(text, origin)
        used = [*given, *(name for name in optional if slots[name].core in text.lower())]
        for name in used[len(given) :]:
            slots[name].require(text, origin)
        for name in forbidden:
            if slots[name].core in text.lower():
                raise PromptError(f"{origin}: the {name} must not stand before the {target} here")
        shapes.add(Shape(_pieces(text, {slots[name].text: name for name in used}), target))
    if len(shapes) > 1:
        data = " or ".join(name for name in names if name not in forbidden)
        raise PromptError(f"{origin}: the template's own text depends on what the {data} holds")
    return shapes.pop()


def _pieces(text: str, names: Mapping[str, str]) -> tuple[Segment | str, ...]:
    """Split `text` at the sentinels (the keys of `names`); empty pieces are left out."""
    pieces: list[Segment | str] = []
    for sentinel in sorted(names, key=text.index):
        before, _, text = text.partition(sentinel)
        pieces += [Segment(before, markup=True), names[sentinel]] if before else [names[sentinel]]
    return (*pieces, Segment(text, markup=True)) if text else tuple(pieces)


class _Slot:
    """A slot's sentinel, made so that whatever a template does to it shows."""

    def __init__(self, name: str, number: int, filler: str, trim: bool | None) -> None:
        self.name = name
        self.trim = trim
        self.core = f"qaq{number}slot"  # survives changes of case, and all that follows it
        self.end = f"Qaq{number}End"
        # White space to trim or collapse; cases; what JSON and HTML escape; a non-ASCII letter.
        body = f"<Qaq{number}Slot é & \"Q\" 'q'\n\n\t{filler}  {self.end}\\>"
        self.text = body if trim else f"\n  {body}  \n"

    def require(self, text: str, origin: str) -> None:
        """Check that the sentinel stands in `text` once, unchanged, and in no other form."""
        count = text.count(self.text)
        if count == 0:
            self._fail(origin, self._change(text))
        if count > 1:
            self._fail(origin, f"repeats it ({count} times)")
        if text.lower().count(self.core) > 1:
            self._fail(origin, "repeats it in another form")

    def _change(self, text: str) -> str:
        """What a template did with data that are not in `text` as they should be."""
        bare = self.text.strip()
        if self.core not in text.lower():
            return "drops it"
        if bare in text:
            hint = "; `trim: true` strips the data in every likelihood alike"
            return f"trims the white space around it{hint if self.trim is False else ''}"
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
        return "changes it" if self.end.lower() in text.lower() else "cuts it short"

    def _fail(self, origin: str, what: str) -> NoReturn:
        raise PromptError(
            f"{origin}: a prompt must hold the {self.name} once and untouched, "
            f"but the template {what}"
        )


class Template:
    """A Jinja2 template in an immutable sandbox, with what chat templates expect to find.

    That is: block lines leave no blank lines, `break` and `continue`, ``{% generation %}``,
    `raise_exception`, `strftime_now` (which tells `date`), a `tojson` that escapes no HTML, and
    unknown names that are false and print as nothing. `origin` names the template in messages.
    """

    def __init__(self, source: str, origin: str, date: datetime.date = FIXED_DATE) -> None:
        import jinja2

        self.origin = origin
        # A chat template may ask for the time of day, too.
        self._now = datetime.datetime.combine(date, datetime.time())
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(f"{origin}, line {error.lineno}: {error.message}") from error

    def render(self, variables: Mapping[str, Any]) -> str:
        """The rendered text."""
        import jinja2

        try:
            return self._template.render(strftime_now=self._now.strftime, **variables)
        except jinja2.TemplateError as error:
            raise PromptError(f"{self.origin}: {error.message or error}") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # Python's own errors, from expressions of the template.
            raise PromptError(f"{self.origin}: {type(error).__name__}: {error}") from error
        except MemoryError as error:
            raise PromptError(f"{self.origin}: the template asks for too much memory") from error
        except RecursionError as error:
            raise PromptError(f"{self.origin}: the template calls itself without end") from error


def unknown_names(source: str, known: Sequence[str]) -> list[str]:
    """Names that a template uses and neither sets nor finds; [] for one that does not parse."""
    import jinja2
    from jinja2 import meta

    try:
        used = meta.find_undeclared_variables(_environment().parse(source))
    except jinja2.TemplateSyntaxError:
        return []
    return sorted(used - {*known, *_environment().globals, "strftime_now"})


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    """Made when first asked for: jinja2 takes 50 ms to import."""
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}``, by which some templates mark what to train on: just its body."""

        tags = {"generation"}  # noqa: RUF012 - declared so by jinja2

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment
