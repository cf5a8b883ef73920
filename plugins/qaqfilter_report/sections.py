"""What the report says of each step: its account, its charts, the records that tell most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qaqfilter.finished import Finished, FinishedStep
from qaqfilter.reports import StepReport
from qaqfilter_report.charts import Chart
from qaqfilter_report.choosing import Choice, Example
from qaqfilter_report.distributions import by_stratum, distribution
from qaqfilter_report.findings import Finding, of_step
from qaqfilter_report.planes import planes

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
"""Percent."""


@dataclass(frozen=True, slots=True)
class Section:
    """A step. `quantiles` are (percent, of all that reached it, of those that it kept)."""

    index: int
    step: FinishedStep
    account: StepReport
    rule: str
    charts: Sequence[Chart]
    quantiles: Sequence[tuple[int, float, float]]
    examples: Sequence[Example]


def sections(run: Finished, choice: Choice) -> Iterator[tuple[Section, list[Finding]]]:
    """Each step with what looks wrong in it. One at a time: ranks of a large run are large."""
    for index, step in enumerate(run.steps):
        standing = run.standing(index)
        passed = run.passed(index)[standing.rows]
        found = (
            distribution(run, index, standing, passed),
            by_stratum(run, index, standing, passed),
            *planes(run, index, standing, passed, choice.sample),
        )
        section = Section(
            index=index,
            step=step,
            account=run.report.steps[index],
            rule=_rule(step),
            charts=[chart for chart in found if chart is not None],
            quantiles=list(_quantiles(standing.values, passed)),
            examples=[example for example in choice.examples if example.step == index],
        )
        yield section, list(of_step(run, index, standing, passed))


def _rule(step: FinishedStep) -> str:
    """What the step keeps, in the recipe's words."""
    if step.own_rule:
        return "decides by a rule of its own"
    if step.keep is None:
        return "drops nothing"
    rules = step.keep.model_dump(mode="json", exclude_defaults=True)
    words = ", ".join(f"{name} {value}" for name, value in rules.items())
    strata = f", in {step.strata.bins} strata of {step.strata.by}" if step.strata else ""
    return f"keeps {words}{strata}" + (f", in groups by {step.group}" if step.group else "")


def _quantiles(values: np.ndarray, passed: np.ndarray) -> Iterator[tuple[int, float, float]]:
    both = values[np.isfinite(values)], values[passed & np.isfinite(values)]
    if len(both[0]):
        found = [np.percentile(v, QUANTILES) if len(v) else [np.nan] * 7 for v in both]
        yield from zip(QUANTILES, *(list(map(float, f)) for f in found), strict=True)
