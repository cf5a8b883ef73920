"""Pointwise mutual information of query and answer."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_pmi.selector import Pmi, PmiOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `pmi`."""
    yield Component("pmi", PmiOptions, Pmi, "how much likelier one side makes the other")
