"""Jinja2 templates in an immutable sandbox, with what chat templates expect to find there."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from qaqfilter.errors import PromptError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FIXED_DATE = datetime.date(2025, 1, 1)
"""What `strftime_now` tells a template, unless told otherwise: numbers must not change by day."""


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
