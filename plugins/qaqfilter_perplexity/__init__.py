"""Perplexity of one side of a record, or of both."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_perplexity.selector import Perplexity, PerplexityOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `perplexity`."""
    yield Component("perplexity", PerplexityOptions, Perplexity, "how surprising the text is")
