"""Reverse mutual information."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_rmi.selector import Rmi, RmiOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `rmi`."""
    yield Component("rmi", RmiOptions, Rmi, "how much the answer explains the query")
