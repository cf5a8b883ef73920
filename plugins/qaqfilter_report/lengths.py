"""How long queries and answers are, in the tokens of a model: kept and rejected."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qaqfilter.finished import Finished
from qaqfilter_report.charts import HEIGHT, Chart, outcome, quantitative, values
from qaqfilter_report.wording import count

OUTCOMES = ("kept", "rejected")
SIDES = {"query": ("query", "query_given_answer"), "answer": ("answer", "answer_given_query")}


def lengths(run: Finished) -> Iterator[Chart]:
    """A chart for each side whose tokens a model has counted."""
    for side, likelihoods in SIDES.items():
        found = tokens_of(run, likelihoods)
        if found is None:
            continue
        view, tokens = found
        here = tokens > 0
        most = int(tokens[here].max())
        edges = np.unique(np.geomspace(1, most + 1, 25).astype(np.int64))
        place = np.searchsorted(edges, tokens, side="right") - 1
        rows, table = [], []
        counts = [
            np.bincount(place[here & who], minlength=len(edges)) for who in (run.kept, ~run.kept)
        ]
        for at, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            kept, lost = int(counts[0][at]), int(counts[1][at])
            rows += [
                {"low": low, "high": high, "count": n, "outcome": name}
                for name, n in zip(OUTCOMES, (kept, lost), strict=True)
                if n
            ]
            if kept or lost:
                table.append((count(low), count(high - 1), count(kept), count(lost)))
        yield Chart(
            id=f"length-{side}",
            title=f"Length of the {side}",
            says=f"Histogram of the tokens of the {side} by {view}: median "
            f"{count(float(np.median(tokens[here])))}, at most {count(most)}.",
            caption=f"Tokens by {view}, of the {count(here.sum())} records that it has scored; the "
            "axis is logarithmic.",
            spec={
                "width": "container",
                "height": HEIGHT,
                "data": values(rows),
                "mark": {"type": "bar", "orient": "vertical"},
                "encoding": {
                    "x": quantitative(
                        "low", f"tokens of the {side}", scale={"type": "log", "nice": False}
                    ),
                    "x2": {"field": "high"},
                    "y": quantitative("count", "records", stack="zero"),
                    "color": outcome(among=OUTCOMES),
                },
            },
            head=("from", "to", *OUTCOMES),
            rows=table,
        )


def tokens_of(run: Finished, likelihoods: tuple[str, ...]) -> tuple[str, np.ndarray] | None:
    """The view that has counted most records, and how many tokens each has (0: not known)."""
    best = None
    for name in run.columns.likelihoods:
        view, _, likelihood = name.rpartition(".")
        if likelihood in likelihoods:
            column = run.columns.pooled(name)
            tokens = np.where(column.status == 0, column.tokens, 0)
            if tokens.any() and (best is None or (tokens > 0).sum() > (best[1] > 0).sum()):
                best = view, tokens
    return best
