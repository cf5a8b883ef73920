"""What `qaqfilter calibrate` left beside the run: its tables, its charts, what was missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import orjson
from markupsafe import Markup

from qaqfilter.errors import RunDirectoryError
from qaqfilter.finished import Finished
from qaqfilter.manifest import as_written, changed_keys
from qaqfilter.run_places import place_of
from qaqfilter_report.charts import Chart, outcome, quantitative, values
from qaqfilter_report.code import highlighted, seen
from qaqfilter_report.wording import number

CALIBRATION = "calibration.json"
AGAIN = "make it anew with `qaqfilter calibrate --replace`, or move it away"
UNDAMAGED = "undamaged"
WHO = (UNDAMAGED, "damaged")
MISSED = 1000
"""Characters that are shown of a missed copy's texts."""

Data = Mapping[str, Any]


class Missed(NamedTuple):
    """A damaged copy that the chain keeps."""

    damage: str
    id: Markup
    query: Markup
    answer: Markup


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration as the report shows it; all cells are text.

    Attributes
    ----------
    changed: keys of the recipe that are not what they were when it was made.
    head, chain: damage, copies, share caught; for each step the share it is the first to catch.
    catches: step, damage, copies, share caught, AUC.
    """

    records: int
    seed: int
    cost: str
    level: str
    changed: Sequence[str]
    head: Sequence[str]
    chain: Sequence[Sequence[str]]
    catches: Sequence[Sequence[str]]
    charts: Sequence[Chart]
    suggestions: Sequence[str]
    notes: Sequence[str]
    missed: Sequence[Missed]


def calibration_of(run: Finished) -> Calibration | None:
    """The calibration in the run's folder or at its address; None where there is none.

    Raises RunDirectoryError for a file that is none.
    """
    folder = run.report.folder
    with place_of(str(folder)).fetched(CALIBRATION) as here:
        try:
            data = orjson.loads((here / CALIBRATION).read_bytes())
            if data["format"] != 1:
                raise ValueError(f"format {data['format']!r}, where 1 is known")
            return _calibration(run, data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            told = f"{type(error).__name__}: {error}"
            raise RunDirectoryError(
                f"{folder}/{CALIBRATION} cannot be shown ({told}): {AGAIN}"
            ) from error


def _calibration(run: Finished, data: Data) -> Calibration:
    judging = [step["step"] for step in data["steps"] if step["keeps"] != "scores"]
    parts = [{"models": r["models"], "steps": r["steps"]} for r in _recipes(run, data)]
    return Calibration(
        records=int(data["records"]),
        seed=int(data["seed"]),
        cost=_with_interval(data["chain"], "cost"),
        level=_percent(data["level"]),
        changed=list(changed_keys(*parts)),
        head=("damage", "copies", "caught", *(f"first by {step}" for step in judging)),
        chain=[
            (
                one["damage"],
                str(one["records"]),
                _with_interval(one, "caught"),
                *(_percent(one["by_step"][step]) for step in judging),
            )
            for one in data["chain_catches"]
        ],
        catches=[
            (
                one["step"],
                one["damage"],
                str(one["records"]),
                _with_interval(one, "caught") if one["step"] in judging else "–",
                number(one["auc"], 2),
                _with_interval(one, "two_sided"),
            )
            for one in data["catches"]
        ],
        charts=[_chart(index, one) for index, one in enumerate(data["histograms"])],
        suggestions=[f"{one['step']}: {one['yaml']}" for one in data["suggestions"] if one["yaml"]],
        notes=[str(note) for note in data["notes"]],
        missed=list(_missed(data)),
    )


def _recipes(run: Finished, data: Data) -> Iterator[Mapping[str, Any]]:
    """That of the calibration and that of the run."""
    yield as_written(data["recipe"])
    yield as_written(run.recipe)


def _chart(index: int, one: Data) -> Chart:
    """A histogram for each damage, over that of the undamaged sample."""
    edges = one["edges"]
    rows = [
        {"low": low, "high": high, "share": found / max(1, sum(counts)), "who": who, "damage": name}
        for name, damaged in one["damages"].items()
        for who, counts in zip(WHO, (one["clean"], damaged), strict=True)
        for low, high, found in zip(edges[:-1], edges[1:], counts, strict=True)
        if found
    ]
    column = str(one["column"])
    return Chart(
        id=f"calibration-{index}",
        title=f"{one['step']}: undamaged and damaged",
        says=f"For each damage, shares of {column} for undamaged and damaged records.",
        caption="Shares of the undamaged sample, the same in every row, and of the copies with "
        "that damage. What the two have in common, no threshold on this score tells apart.",
        spec={
            "data": values(rows),
            "facet": {
                "row": {
                    "field": "damage",
                    "type": "nominal",
                    "title": None,
                    "sort": None,
                    "header": {"labelAngle": 0, "labelAnchor": "start", "labelOrient": "top"},
                }
            },
            "spec": {
                "width": 520,
                "height": 34,
                "mark": {"type": "bar", "binSpacing": 0.5, "opacity": 0.6},
                "encoding": {
                    "x": quantitative("low", column, bin={"binned": True}),
                    "x2": {"field": "high"},
                    "y": quantitative("share", None, stack=None, axis=None),
                    "color": outcome("who", among=WHO),
                },
            },
            "resolve": {"scale": {"y": "independent"}},
            "spacing": 4,
        },
        head=("from", "to", UNDAMAGED, *one["damages"]),
        rows=[
            (number(low), number(high), *(str(counts[at]) for counts in _counts(one)))
            for at, (low, high) in enumerate(pairwise(edges))
        ],
    )


def _counts(one: Data) -> Iterator[Sequence[int]]:
    yield one["clean"]
    yield from one["damages"].values()


def _missed(data: Data) -> Iterator[Missed]:
    for one in data["missed"]:
        yield Missed(
            str(one["damage"]),
            seen(str(one["id"])[:MISSED]),
            highlighted(str(one["query"]), MISSED),
            highlighted(str(one["answer"]), MISSED),
        )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _with_interval(one: Data, name: str) -> str:
    low, high = one[f"{name}_low"], one[f"{name}_high"]
    value = _percent(one[name])
    return value if low is None or high is None else f"{value} ({100 * low:.0f}–{100 * high:.0f})"
