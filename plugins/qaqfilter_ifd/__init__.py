"""Instruction-following difficulty, in its two published variants."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_ifd.selector import Ifd, IfdOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `ifd`."""
    yield Component("ifd", IfdOptions, Ifd, "how little the query helps to predict the answer")
