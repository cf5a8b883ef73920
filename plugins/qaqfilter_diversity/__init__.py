"""Records that cover the whole of the data.

`embedding.py` makes points of texts, and `picking.py` picks among them.
"""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Needs, Selector, hookimpl
from qaqfilter_diversity.options import DiversityOptions
from qaqfilter_diversity.selector import Diversity

__all__ = ["qaqfilter_selectors"]


@hookimpl
def qaqfilter_selectors() -> Iterator[Component[Selector]]:
    """Offer `diversity`."""
    yield Component(
        "diversity",
        DiversityOptions,
        Diversity,
        "keeps records that differ from one another, by embeddings of their text",
        Needs("qaqfilter[diversity]", ("model2vec", "wordllama")),
    )
