"""An explanation as a page that needs nothing else."""

from __future__ import annotations

from qaqfilter.printable import printable
from qaqfilter_report.account_words import facts, fate, headline, neighbours
from qaqfilter_report.code import escaped
from qaqfilter_report.document import document
from qaqfilter_report.explanation import Explanation
from qaqfilter_report.heat import MOST, SOME
from qaqfilter_report.heat_page import shown_heatmap


def explain_page(known: Explanation, *, whole: bool) -> bytes:
    """The file. Without `whole` a long text is not shown to its end."""
    steps = [
        {
            "id": account.id,
            "use": account.use,
            "summary": account.summary,
            "headline": headline(account),
            "facts": [(escaped(name), escaped(value)) for name, value in facts(account)],
            "column": account.column,
            "neighbours": [
                row._replace(id=escaped(row.id))
                for row in neighbours(account, known.steps, known.labels, known.id)
            ],
        }
        for account in known.steps
    ]
    return document(
        "explain.html.j2",
        id=escaped(known.id),
        place=escaped(f"record {known.row + 1} of {known.run}, {known.part}#{known.ordinal}"),
        errors=[printable(error, keep="\n") for error in (*known.errors, *known.notes)],
        fate=fate(known.steps),
        kept=all(account.passed for account in known.steps),
        steps=steps,
        heatmaps=[shown_heatmap(one, whole=whole) for one in known.heatmaps],
        some=SOME,
        most=MOST,
    )
