"""A rule of the docs as a test: one that fails says the rule, what was found, and where to read on.

@rule("qaqfilter_selectors")
def test_columns_come_in_order(self, selector): ...
    \"\"\"The docstring is the rule, in a sentence.\"\"\"
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from inspect import getdoc
from typing import ParamSpec

import pytest

P = ParamSpec("P")


def rule(section: str, page: str = "hooks.md") -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a check a rule: whatever it raises becomes an AssertionError that explains the rule.

    The check's docstring is the rule; `section` is the heading in docs/ where it stands.
    """

    def decorate(check: Callable[P, None]) -> Callable[P, None]:
        said = " ".join((getdoc(check) or "").split())

        @wraps(check)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                check(*args, **kwargs)
            except (Exception, pytest.fail.Exception) as error:
                message = f"{said}\nfound: {found(error)}\nsee docs/{page}#{section}"
                raise AssertionError(message) from error

        return checked

    return decorate


def found(error: BaseException) -> str:
    """What a failed check found: the message of its assertion, or what the plugin raised, where."""
    text = str(error)
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return text
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} (at {place.filename}:{place.lineno})"
