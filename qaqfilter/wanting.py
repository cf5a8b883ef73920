"""What steps want of models: each is asked once by a prompt, for all its likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qaqfilter.columns import Columns
from qaqfilter.recipe import Step
from qaqfilter.types import Ints


class Asked(NamedTuple):
    """A model, the step by whose prompt it is asked, and the likelihoods that are wanted."""

    step: Step
    model: str
    likelihoods: Sequence[str]


def asked_by(steps: Sequence[Step], columns: Columns, rows: Ints) -> list[Asked]:
    """What these steps need over `rows` and the columns do not hold yet, by model."""
    wanted: dict[str, tuple[Step, str, list[str]]] = {}
    for step in steps:
        for model, likelihood in step.needs:
            view = step.view(model)
            if len(columns.unscored(f"{view}.{likelihood}", rows)):
                names = wanted.setdefault(view, (step, model, []))[2]
                if likelihood not in names:
                    names.append(likelihood)
    return [Asked(*one) for one in wanted.values()]
