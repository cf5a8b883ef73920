"""A comparison of two runs as a page."""

from __future__ import annotations

from qaqfilter_report.comparing import Comparison
from qaqfilter_report.diff_terminal import sentences, titles
from qaqfilter_report.document import document
from qaqfilter_report.examples import Shown


def diff_page(found: Comparison, shown: Shown) -> bytes:
    """The file, self-contained."""
    return document(
        "diff.html.j2",
        found=found,
        sentences=list(sentences(found, shown)),
        directions=list(
            zip(("first", "second"), titles(found), (shown.first, shown.second), strict=True)
        ),
    )
