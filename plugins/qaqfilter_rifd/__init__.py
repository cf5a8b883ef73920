"""Reverse instruction-following difficulty, in two variants."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_rifd.selector import Rifd, RifdOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `rifd`."""
    yield Component("rifd", RifdOptions, Rifd, "how little the answer helps to predict the query")
