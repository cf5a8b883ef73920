"""The natural language of a text, told by py3langid: `identifier.py` holds the library."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Needs, Selector, hookimpl
from qaqfilter_language.selector import LanguageOptions, NaturalLanguage

__all__ = ["qaqfilter_selectors"]


@hookimpl
def qaqfilter_selectors() -> Iterator[Component[Selector]]:
    """Offer `language`."""
    yield Component(
        "language",
        LanguageOptions,
        NaturalLanguage,
        "which natural language the text is in; no model needed",
        Needs("qaqfilter[language]", ("py3langid",)),
    )
