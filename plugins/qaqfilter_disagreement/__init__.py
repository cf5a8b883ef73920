"""Disagreement of a strong and a weak model about the same records."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_disagreement.selector import Disagreement, DisagreementOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `disagreement`."""
    yield Component(
        "disagreement",
        DisagreementOptions,
        Disagreement,
        "pairs that a strong model finds coherent and a weak one does not",
    )
