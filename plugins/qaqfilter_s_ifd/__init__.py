"""Selective IFD: instruction-following difficulty over the tokens that the query moves most."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_s_ifd.selector import SIfd, SIfdOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `s_ifd`."""
    yield Component("s_ifd", SIfdOptions, SIfd, "ifd over the tokens that the query moves most")
