"""An exact toy language model: every number can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Backend, Component, hookimpl
from qaqfilter_ngram.backend import NgramBackend, NgramOptions


@hookimpl
def qaqfilter_backends() -> Iterable[Component[Backend]]:
    """Offer `ngram`."""
    yield Component("ngram", NgramOptions, NgramBackend, "exact toy model of bytes; no download")
