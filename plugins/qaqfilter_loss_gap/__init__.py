"""The difference of two losses of one text."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_loss_gap.selector import LossGap, LossGapOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `loss_gap`."""
    yield Component(
        "loss_gap",
        LossGapOptions,
        LossGap,
        "what a reference model finds easier",
    )
