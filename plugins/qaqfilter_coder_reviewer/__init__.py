"""How likely each side is given the other, together."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_coder_reviewer.selector import CoderReviewer, CoderReviewerOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `coder_reviewer`."""
    yield Component(
        "coder_reviewer", CoderReviewerOptions, CoderReviewer, "log P(A|Q) + log P(Q|A)"
    )
