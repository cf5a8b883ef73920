"""Which records a report shows: a sample of all, and for each step those that tell most of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qaqfilter.finished import Finished
from qaqfilter.types import Ints

SAMPLED = 2000
"""Records that charts show one by one, and whose ids a selection lists."""
CALM = 12
"""Records of the sample that are shown in full, whatever their scores."""
EACH = 3
MANY_STEPS = 8


class Example(NamedTuple):
    """Some records of a step, and why these."""

    step: int
    title: str
    rows: list[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """Rows, ascending in `sample`.

    `calm` are those of the sample that are shown in full.
    """

    sample: Ints
    calm: list[int]
    examples: list[Example]

    @property
    def full(self) -> list[int]:
        """Every row that is shown with its text."""
        found = {row for example in self.examples for row in example.rows}
        return sorted(found | {*self.calm})


def choose(run: Finished) -> Choice:
    """The rows; the same for the same run."""
    rng = np.random.default_rng(0)
    size = min(SAMPLED, run.records)
    sample = np.sort(rng.choice(run.records, size, replace=False)) if size else np.arange(0)
    calm = np.sort(rng.choice(sample, min(CALM, size), replace=False)).tolist()
    each = EACH if len(run.steps) <= MANY_STEPS else 1
    examples = [
        example
        for index in range(len(run.steps))
        for example in _of_step(run, index, each)
        if example.rows
    ]
    return Choice(sample.astype(np.int64), calm, examples)


def _of_step(run: Finished, index: int, each: int) -> Iterator[Example]:
    step = run.steps[index]
    rows = np.flatnonzero(run.reached(index))
    values = run.numbers(step.column)[rows]
    scored = np.isfinite(values)
    if scored.any():
        yield Example(index, "the highest scores", _most(rows[scored], values[scored], each))
        yield Example(index, "the lowest scores", _most(rows[scored], -values[scored], each))
    out = rows[run.fates.step[rows] == index]
    value, bound = run.fates.value[out], run.fates.bound[out]
    near = np.isfinite(value) & np.isfinite(bound)
    if near.any():
        distance = -np.abs(value[near] - bound[near])
        yield Example(index, "rejected by the least", _most(out[near], distance, each))
    unscored = np.isnan(values)
    if unscored.any() and run.numbers(step.column).size:
        yield Example(index, "no score", rows[unscored][:each].tolist())


def _most(rows: Ints, values: np.ndarray, count: int) -> list[int]:
    """The rows of the highest values, the highest first; of equal ones, those that come first."""
    if len(rows) > count:
        bound = np.partition(values, -count)[-count]
        here = np.flatnonzero(values >= bound)
        rows, values = rows[here], values[here]
    best = np.argsort(-values, kind="stable")[:count]
    return [int(row) for row in rows[best]]
