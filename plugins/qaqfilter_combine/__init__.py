"""Ranks of other steps, weighed into one number."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_combine.selector import Combined, CombineOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `combine`."""
    yield Component(
        "combine", CombineOptions, Combined, "a weighted mean of ranks of other steps' columns"
    )
