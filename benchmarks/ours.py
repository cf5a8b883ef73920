"""qaqfilter as a contender: the transformers backend, driven by the engine's own Scorer.

All that the benchmarks know of our interface is in this file. A measured run is what a recipe
would do with one window: prompts, tokenising, planning, batching, the model, the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contender import GIB, Contender
from benchmarks.workload import Sums, Workload
from qaqfilter import LIKELIHOODS, Backend, PromptFormat, Record, Window, WindowScores, Work
from qaqfilter.manager import PluginManager
from qaqfilter.scoring import Scorer

PLAIN: Mapping[str, Any] = {"use": "plain"}


@dataclass(frozen=True, slots=True)
class Models:
    """Resources without a run: only models."""

    manager: PluginManager

    def model_files(self, location: str, revision: str | None = None) -> Any:
        """Resolve a location through the models hook."""
        return self.manager.locate(location, revision)

    def records(self) -> Iterator[Record]:
        """No model here is fitted on data."""
        return iter(())


def open_backend(manager: PluginManager, folder: Path) -> Backend:
    """Our transformers backend on the CPU in float32; the weights wait for the first use."""
    component = manager.require("backend", "transformers")
    options = {"model": f"path:{folder}", "device": "cpu", "dtype": "float32"}
    backend: Backend = component.create(component.config(**options), Models(manager))
    return backend


def open_prompt(
    manager: PluginManager, backend: Backend, block: Mapping[str, Any] = PLAIN
) -> PromptFormat:
    """A prompt format from what would be its block in a recipe."""
    component = manager.require("prompt", block["use"])
    options = {key: value for key, value in block.items() if key != "use"}
    prompt: PromptFormat = component.create(component.config(**options), backend, Models(manager))
    return prompt


def run_scorer(scorer: Scorer, window: Window) -> WindowScores:
    """One window through a Scorer."""
    (scores,) = scorer([window])
    return scores


def our_contender(
    backend: Backend,
    prompt: PromptFormat,
    name: str = "qaqfilter",
    likelihoods: tuple[str, ...] = LIKELIHOODS,
) -> Contender:
    """The contender. Its sums are those of every record; an undefined one is an error."""

    def score(workload: Workload) -> Sums:
        scorer = Scorer("benchmark", backend, prompt, workload.likelihoods)
        columns = run_scorer(scorer, workload.window).columns
        for likelihood, column in columns.items():
            if column.status.any():
                raise SystemExit(f"{name}: {likelihood} is undefined for a record")
        return {likelihood: columns[likelihood].logprob for likelihood in workload.likelihoods}

    return Contender(name, score, _memory, likelihoods)


def work_of(backend: Backend) -> Work | None:
    """What the backend has done until now, or None where it does not count."""
    return getattr(backend, "work", None)


def work_during(backend: Backend, run: Callable[[], object]) -> Work | None:
    """What the backend does while `run` runs, or None where it does not count."""
    before = work_of(backend)
    run()
    after = work_of(backend)
    if before is None or after is None:
        return None
    return Work(*(b - a for a, b in zip(before, after, strict=True)))


def _memory(_workload: Workload) -> int:
    """Chunks of logits are bounded, whatever the workload."""
    return GIB
