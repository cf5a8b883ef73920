"""Records that every machine has: docstrings as queries, the functions below them as answers."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Source, hookimpl
from qaqfilter_docstrings.source import Docstrings, DocstringsOptions

__all__ = ["qaqfilter_sources"]


@hookimpl
def qaqfilter_sources() -> Iterator[Component[Source]]:
    """``input: {use: docstrings}``."""
    summary = "(docstring, function) pairs of the standard library or a package"
    yield Component("docstrings", DocstringsOptions, Docstrings, summary)
