"""Length of a record's text."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_length.selector import Length, LengthOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `length`."""
    yield Component("length", LengthOptions, Length, "characters, words or lines; no model needed")
