"""Records that stand in the input twice, exactly or nearly.

`exact.py` goes by a digest of the text. `near.py` goes by signatures, which `minhash.py` makes of
the text and `clusters.py` compares.
"""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Needs, Selector, hookimpl
from qaqfilter_duplicates.exact import ExactDuplicates, ExactDuplicatesOptions
from qaqfilter_duplicates.near import NearDuplicates, NearDuplicatesOptions

__all__ = ["qaqfilter_selectors"]


@hookimpl
def qaqfilter_selectors() -> Iterator[Component[Selector]]:
    """Offer `exact_duplicates` and `near_duplicates`."""
    yield Component(
        "exact_duplicates",
        ExactDuplicatesOptions,
        ExactDuplicates,
        "keeps the first of all records with one text; no model needed",
    )
    yield Component(
        "near_duplicates",
        NearDuplicatesOptions,
        NearDuplicates,
        "keeps one of records that say nearly the same (MinHash); no model needed",
        Needs("qaqfilter[duplicates]", ("rensa",)),
    )
