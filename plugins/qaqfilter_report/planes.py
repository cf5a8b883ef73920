"""Two columns against one another: all records counted in cells, the sampled ones as points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qaqfilter.finished import Finished, Standing
from qaqfilter.ranking import bin_edges
from qaqfilter.types import Ints
from qaqfilter_report.binning import Bins, Bools, Floats, bins_for
from qaqfilter_report.charts import OUTCOMES, Axis, Chart, Spec, outcome, quantitative, rule, values
from qaqfilter_report.wording import count, number, percent

CELLS = 36
HEIGHT = 320
POINTS = 1500
"""Points of a chart: more of them hide one another, and each is an element of the page."""


def planes(
    run: Finished, index: int, standing: Standing, passed: Bools, sample: Ints
) -> Iterator[Chart]:
    """The planes in which a step decides."""
    step = run.steps[index]
    alone = f"{step.id}.nll_query"
    by_name = step.strata_by or (alone if alone in step.columns[1:] else None)
    if by_name is not None:
        by = run.numbers(by_name)[standing.rows]
        edges = np.unique(bin_edges(by, step.strata.bins)).tolist() if step.strata else []
        yield from _plane(
            run,
            f"plane-{index}",
            names=(by_name, step.column),
            xy=(by, standing.values),
            standing=standing,
            passed=passed,
            sample=sample,
            title=f"{step.column} against {by_name}",
            caption="Lines: the edges of the strata, in each of which the step ranks by itself."
            * (step.strata is not None),
            more=[rule(edges, "edge")] if edges else [],  # rules of nothing are complained of
        )
    ranks = f"{step.id}.strong_rank", f"{step.id}.weak_rank"
    if set(ranks) <= {*step.columns}:
        strong, weak = (run.numbers(name)[standing.rows] for name in ranks)
        yield from _plane(
            run,
            f"ranks-{index}",
            names=ranks,
            xy=(strong, weak),
            standing=standing,
            passed=passed,
            sample=sample,
            title=f"{step.id}: rank by the strong model against rank by the weak one",
            caption="What the strong model finds coherent and the weak one does not is at the "
            "lower right. Dashed: where the kept corner ends.",
            more=list(_corner(step.column.rpartition(".")[2], standing.values[passed])),
        )


def _plane(
    run: Finished,
    chart: str,
    *,
    names: tuple[str, str],
    xy: tuple[Floats, Floats],
    standing: Standing,
    passed: Bools,
    sample: Ints,
    title: str,
    caption: str,
    more: Sequence[Mapping[str, Any]],
) -> Iterator[Chart]:
    bins = [bins_for(values_, CELLS) for values_ in xy]
    if bins[0] is None or bins[1] is None:
        return
    x, y = (np.clip(v, b.edges[0], b.edges[-1]) for v, b in zip(xy, bins, strict=True) if b)
    both = np.isfinite(x) & np.isfinite(y)
    counts, *_ = np.histogram2d(x[both], y[both], bins=[bins[0].edges, bins[1].edges])
    cells = [
        {
            "x": float(bins[0].edges[i]),
            "x2": float(bins[0].edges[i + 1]),
            "y": float(bins[1].edges[j]),
            "y2": float(bins[1].edges[j + 1]),
            "count": int(counts[i, j]),
        }
        for i, j in np.argwhere(counts).tolist()
    ]
    here = np.flatnonzero(np.isin(standing.rows, sample) & both)[:POINTS]
    points = [
        {"x": float(x[at]), "y": float(y[at]), "outcome": OUTCOMES[0 if passed[at] else 1]}
        for at in here.tolist()
    ]
    whole = len(here) == int(both.sum())
    shown = (
        "Every record is a point."
        if whole
        else f"{count(len(here))} of {count(both.sum())} records are points, drawn at random; the "
        "grey cells count all of them."
    )
    yield Chart(
        id=chart,
        title=title,
        says=f"Scatter plot of {names[1]} against {names[0]}, {count(both.sum())} records.",
        caption=f"{shown} {caption}",
        spec=_spec(names, [] if whole else cells, points, more, spans=(bins[0], bins[1])),
        pick=[Axis("x", names[0], names[0]), Axis("y", names[1], names[1])],
        head=(names[0], names[1], "records", "kept", "share"),
        rows=list(_quarters(xy, passed, both)),
    )


def _spec(
    names: tuple[str, str],
    cells: Sequence[Mapping[str, Any]],
    points: Sequence[Mapping[str, Any]],
    more: Sequence[Mapping[str, Any]],
    *,
    spans: tuple[Bins, Bins],
) -> Spec:
    x, y = (
        quantitative(axis, name, scale={"domain": _domain(name, span), "nice": False})
        for axis, name, span in zip("xy", names, spans, strict=True)
    )
    layers: list[Mapping[str, Any]] = []
    if cells:
        layers.append(
            {
                "data": values(cells),
                "mark": {"type": "rect", "color": "#7d8796"},
                "encoding": {
                    "x": x,
                    "x2": {"field": "x2"},
                    "y": y,
                    "y2": {"field": "y2"},
                    "opacity": quantitative(
                        "count", None, legend=None, scale={"type": "sqrt", "range": [0.08, 0.9]}
                    ),
                },
            }
        )
    layers.append(
        {
            "data": values(points),
            "params": [{"name": "region", "select": {"type": "interval"}}],
            "mark": {"type": "point", "filled": True, "size": 36, "opacity": 0.85},
            "encoding": {
                "x": x,
                "y": y,
                "color": outcome(),
                "shape": {
                    "field": "outcome",
                    "type": "nominal",
                    "scale": {"domain": list(OUTCOMES), "range": ["circle", "triangle-up"]},
                    "legend": {"orient": "top"},
                    "title": None,
                },
            },
        }
    )
    return {"width": "container", "height": HEIGHT, "layer": [*layers, *more]}


def _domain(name: str, span: Bins) -> list[float]:
    """What an axis shows: a little more than there is, so that no point lies on the frame."""
    low, high = span.edges[[0, -1]].tolist()
    if name.endswith("_rank"):
        low, high = 0.0, 1.0
    room = (high - low) / 40
    return [low - room, high + room]


def _corner(judged: str, kept: Floats) -> Iterator[Mapping[str, Any]]:
    """Where `judged`, one of the columns that `disagreement` has, is as low as is kept."""
    kept = kept[np.isfinite(kept)]
    lines = {
        "diff": lambda strong, t: strong - t,
        "minus_diff": lambda strong, t: strong + t,
        "sum": lambda strong, t: t - strong,
        "minus_sum": lambda strong, t: -t - strong,
    }
    if judged not in lines or not len(kept):
        return
    least = float(kept.min())
    strong = np.linspace(0, 1, 101)
    weak = lines[judged](strong, least)
    inside = (weak >= 0) & (weak <= 1)
    ends = [
        {"x": float(s), "y": float(w)} for s, w in zip(strong[inside], weak[inside], strict=True)
    ]
    yield {
        "data": values([*ends[:1], *ends[-1:]]),
        "mark": {"type": "line", "strokeDash": [5, 4], "style": "edge"},
        "encoding": {axis: {"field": axis, "type": "quantitative"} for axis in ("x", "y")},
    }


def _quarters(xy: tuple[Floats, Floats], passed: Bools, both: Bools) -> Iterator[Sequence[str]]:
    """The plane in four by four fields of equally many records, as a table."""
    x, y, stays = xy[0][both], xy[1][both], passed[both]
    edges = [np.unique(np.quantile(v, (0, 0.25, 0.5, 0.75, 1))) for v in (x, y)]
    cell = [
        np.clip(np.searchsorted(e, v, side="right") - 1, 0, max(0, len(e) - 2))
        for e, v in zip(edges, (x, y), strict=True)
    ]
    for i in range(max(1, len(edges[0]) - 1)):
        for j in range(max(1, len(edges[1]) - 1)):
            here = (cell[0] == i) & (cell[1] == j)
            if here.any():
                ranges = (f"{number(v[here].min())} to {number(v[here].max())}" for v in (x, y))
                kept = int(stays[here].sum())
                total = int(here.sum())
                yield (*ranges, count(total), count(kept), percent(kept, total))
