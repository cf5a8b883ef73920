"""How the scores of a step are spread, what of them is kept, and so in each stratum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from qaqfilter.finished import Finished, Standing
from qaqfilter_report.binning import Bins, Bools, bins_for
from qaqfilter_report.charts import (
    HEIGHT,
    OUTCOMES,
    Axis,
    Chart,
    outcome,
    quantitative,
    rule,
    values,
)
from qaqfilter_report.wording import count, number, percent

MOST_STRATA = 12
STRATUM_BINS = 24


def distribution(run: Finished, index: int, standing: Standing, passed: Bools) -> Chart | None:
    """The step's scores, kept and rejected; None where it has none.

    `passed` is of the length of the standing's rows.
    """
    step = run.steps[index]
    bins = bins_for(standing.values)
    if bins is None:
        return None
    kept, lost = bins.counts(standing.values[passed]), bins.counts(standing.values[~passed])
    rows = list(_rows(bins, kept, lost))
    bounds = _bounds(run, index)
    layers: list[Mapping[str, Any]] = [
        {
            "params": [{"name": "region", "select": {"type": "interval", "encodings": ["x"]}}],
            "mark": {"type": "bar", "binSpacing": 0.5},
            "encoding": {
                "x": quantitative("low", step.column, bin={"binned": True}),
                "x2": {"field": "high"},
                "y": quantitative("count", "records", stack="zero"),
                "color": outcome(),
                "tooltip": [
                    quantitative("low", "from", format=".4g"),
                    quantitative("high", "to", format=".4g"),
                    quantitative("count", "records"),
                    {"field": "outcome", "type": "nominal"},
                ],
            },
        }
    ]
    if bounds:
        layers.append(rule(bounds, "bound"))
    beyond = f" Values outside the range ({count(bins.beyond)}) are in the outermost bars." * (
        bins.beyond > 0
    )
    return Chart(
        id=f"scores-{index}",
        title=f"Scores of {step.id}",
        says=f"Histogram of {step.column}: {count(sum(kept))} kept, {count(sum(lost))} rejected.",
        caption="All records that reached the step, in bins of equal width."
        + (" Dashed: the bounds of its keep rule." if bounds else "")
        + beyond,
        spec={
            "width": "container",
            "height": HEIGHT,
            "data": values(rows),
            "layer": layers,
        },
        pick=[Axis("low", step.column, step.column)],
        head=("from", "to", *OUTCOMES),
        rows=[
            (number(low), number(high), count(k), count(r))
            for low, high, k, r in zip(bins.edges[:-1], bins.edges[1:], kept, lost, strict=True)
        ],
    )


def by_stratum(run: Finished, index: int, standing: Standing, passed: Bools) -> Chart | None:
    """The same for each stratum by itself; None where the step has none."""
    step = run.steps[index]
    strata = np.unique(standing.stratum[standing.stratum >= 0])
    bins = bins_for(standing.values, STRATUM_BINS)
    if not len(strata) or bins is None or step.strata_by is None:
        return None
    by = run.numbers(step.strata_by)[standing.rows]
    rows, table, edges = [], [], []
    for stratum in strata[:MOST_STRATA].tolist():
        here = standing.stratum == stratum
        scores, stays = standing.values[here], passed[here]
        name = f"{stratum + 1}"
        kept, lost = bins.counts(scores[stays]), bins.counts(scores[~stays])
        rows += [{**row, "stratum": stratum + 1} for row in _rows(bins, kept, lost)]
        inside = scores[stays]
        ends = [float(inside.min()), float(inside.max())] if len(inside) else []
        edges += [{"stratum": stratum + 1, "edge": end} for end in ends]
        table.append(
            (
                name,
                f"{number(np.nanmin(by[here]))} to {number(np.nanmax(by[here]))}",
                count(here.sum()),
                count(stays.sum()),
                percent(stays.sum(), here.sum()),
                " to ".join(number(end) for end in ends) or "–",
            )
        )
    lines = [
        {
            "transform": [{"filter": "isValid(datum.edge)"}],
            "mark": {"type": "rule"},
            "encoding": {"x": quantitative("edge", step.column)},
        }
    ] * bool(edges)  # without any, the chart would complain of an axis of nothing
    more = len(strata) - MOST_STRATA
    return Chart(
        id=f"strata-{index}",
        title=f"Scores of {step.id}, stratum by stratum",
        says=f"One histogram of {step.column} for each bin of {step.strata_by}.",
        caption=f"Strata are bins of equally many records by {step.strata_by}, the lowest on top; "
        "the lines are the lowest and the highest score that is kept in each."
        + (f" {more} more strata are not shown." if more > 0 else ""),
        spec={
            "data": values([*rows, *edges]),
            "facet": {
                "row": {
                    "field": "stratum",
                    "type": "ordinal",
                    "title": None,
                    "header": {"labelAngle": 0, "labelAlign": "left"},
                }
            },
            "spec": {
                "width": 520,
                "height": 34,
                "layer": [
                    {
                        "mark": {"type": "bar", "binSpacing": 0.5},
                        "encoding": {
                            "x": quantitative("low", step.column, bin={"binned": True}),
                            "x2": {"field": "high"},
                            "y": quantitative("count", None, stack="zero", axis=None),
                            "color": outcome(),
                        },
                    },
                    *lines,
                ],
            },
            "resolve": {"scale": {"y": "independent"}},
            "spacing": 6,
        },
        head=("stratum", step.strata_by, "records", "kept", "share", "kept scores"),
        rows=table,
    )


def _rows(bins: Bins, kept: list[int], lost: list[int]) -> Iterator[dict[str, Any]]:
    """A bar for each bin and outcome that has records."""
    for outcome_, counts in zip(OUTCOMES, (kept, lost), strict=True):
        for low, high, found in zip(bins.edges[:-1], bins.edges[1:], counts, strict=True):
            if found:
                yield {
                    "low": float(low),
                    "high": float(high),
                    "count": found,
                    "outcome": outcome_,
                }


def _bounds(run: Finished, index: int) -> list[float]:
    """Scores at which the step's rule changes its mind, where that is the same for all."""
    step = run.steps[index]
    if step.keep is None:
        return []
    rule_ = step.keep
    found = [b for b in (rule_.min, rule_.above, rule_.max, rule_.below) if b is not None]
    out = run.fates.step == index
    counted = [i for i, r in enumerate(run.fates.reasons) if r in ("top", "fraction")]
    if step.strata is None and step.group is None and counted:
        bound = run.fates.bound[out & np.isin(run.fates.reason, counted)]
        found += np.unique(bound[np.isfinite(bound)]).tolist()[:1]
    if rule_.rank is not None and step.strata is None and step.group is None:
        passed = run.numbers(step.column)[run.passed(index)]
        passed = passed[np.isfinite(passed)]
        found += [float(passed.min()), float(passed.max())] if len(passed) else []
    return [float(bound) for bound in found]
