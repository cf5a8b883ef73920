"""Score the fixed records with every installed backend, and compare with stored float64 numbers.

`expected.json` was written by tools/selftest_numbers.py with the reference backend in float64. A
number is a likelihood's mean over its tokens, in nats; token counts must be equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from qaqfilter import (
    LIKELIHOODS,
    Backend,
    Component,
    QaqfilterError,
    Record,
    WindowScores,
)
from qaqfilter.manager import PluginManager
from qaqfilter.options import LOCATION, fields_marked
from qaqfilter.scoring import Scorer
from qaqfilter_doctor.devices import device_options
from qaqfilter_doctor.records import selftest_window

TOLERANCE: Mapping[str, float] = {"reference": 1e-4, "transformers": 1e-4}
"""Nats per token on a record's mean, by backend."""
OTHER_TOLERANCE = 5e-3
"""For llama.cpp, which computes with float16 in places, and for plugins that we do not know."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One backend on one device with one model: the largest difference for each likelihood."""

    backend: str
    device: str
    model: str
    tolerance: float
    differences: Mapping[str, float]
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every likelihood is within the tolerance."""
        worst = max(self.differences.values(), default=float("inf"))
        return self.error is None and worst <= self.tolerance


@dataclass(slots=True)
class Models:
    """Resources without a run: only models."""

    manager: PluginManager

    def model_files(self, location: str, revision: str | None = None) -> Any:
        return self.manager.locate(location, revision)

    def records(self) -> Iterator[Record]:
        return iter(())


def expected_numbers() -> dict[str, dict[str, dict[str, list[float]]]]:
    """model -> likelihood -> {"logprob": sums in nats, "tokens": counts}, in record order."""
    text = files("qaqfilter_doctor").joinpath("expected.json").read_text(encoding="utf-8")
    numbers: dict[str, dict[str, dict[str, list[float]]]] = json.loads(text)
    return numbers


def run_selftest(manager: PluginManager) -> Iterator[Outcome]:
    """Yield an outcome for each backend that can load a model, on each of its devices."""
    expected = expected_numbers()
    for name in manager.names("backend"):
        component = manager.component("backend", name)
        if "model" not in fields_marked(component.config, LOCATION):
            continue  # it has no model to load: an n-gram model, say
        try:
            manager.require("backend", name)
        except QaqfilterError:
            continue  # not installed; the list of plugins says so
        for device, options in device_options(name):
            for model, numbers in expected.items():
                yield check(
                    manager,
                    component,
                    device=device,
                    model=model,
                    options=options,
                    numbers=numbers,
                )


def check(
    manager: PluginManager,
    component: Component[Backend],
    *,
    device: str,
    model: str,
    options: Mapping[str, object],
    numbers: Mapping[str, Mapping[str, Sequence[float]]],
) -> Outcome:
    """Score the records with one backend and compare; an error is an outcome too."""
    resources = Models(manager)
    tolerance = TOLERANCE.get(component.name, OTHER_TOLERANCE)
    try:
        config = component.config.model_validate({"model": model, **options})
        backend = component.create(config, resources)
        try:
            plain = manager.require("prompt", "plain")
            prompt = plain.create(plain.config(), backend, resources)
            (scores,) = Scorer(model, backend, prompt, LIKELIHOODS)([selftest_window()])
        finally:
            backend.close()
        differences = {name: _largest(scores, name, numbers[name]) for name in LIKELIHOODS}
    except Exception as error:  # noqa: BLE001 - a backend under test may fail in any way
        cause = f"{type(error).__name__}: {error}"
        return Outcome(component.name, device, model, tolerance, {}, cause)
    return Outcome(component.name, device, model, tolerance, differences)


def _largest(scores: WindowScores, name: str, numbers: Mapping[str, Sequence[float]]) -> float:
    column = scores.columns[name]
    tokens = np.array(numbers["tokens"])
    if (column.status != 0).any() or (column.tokens != tokens).any():
        return float("inf")  # other tokens: no number to compare
    return float(np.abs((column.logprob - np.array(numbers["logprob"])) / tokens).max())
