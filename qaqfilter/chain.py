"""The chain of steps over one input: measure, score, decide, stretch by stretch.

Only columns of numbers are held, as long as the stream; text is read again where it is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from qaqfilter.costs import Cost
from qaqfilter.deciding import decide_step, group_steps, is_filter, measure_step, score_step
from qaqfilter.errors import QaqfilterError
from qaqfilter.execution import Executor
from qaqfilter.identity import fingerprint
from qaqfilter.manager import PluginManager
from qaqfilter.model_files import ModelFiles
from qaqfilter.protocols import Measures
from qaqfilter.recipe import Recipe, Step
from qaqfilter.reports import ModelReport, Observer, StepReport
from qaqfilter.scoring import ScoringStage
from qaqfilter.store import root_of
from qaqfilter.stream import RecordStream
from qaqfilter.types import (
    Decisions,
    Floats,
    Ints,
    LikelihoodColumn,
    Record,
    Table,
    Window,
    read_only,
)
from qaqfilter.writing import Fates


@dataclass(slots=True)
class _Resources:
    """What backends and prompts may ask of the run."""

    manager: PluginManager
    stream: RecordStream

    def model_files(self, location: str, revision: str | None = None) -> ModelFiles:
        return self.manager.locate(location, revision)

    def records(self) -> Iterator[Record]:
        return self.stream.read()


@dataclass(slots=True)
class Chain:
    """One run's numbers while its chain is worked through; arrays are as long as the stream."""

    recipe: Recipe
    manager: PluginManager
    observer: Observer
    stream: RecordStream
    likelihoods: dict[str, LikelihoodColumn] = field(default_factory=dict)
    columns: dict[str, Floats] = field(default_factory=dict)
    groups: dict[str, Ints] = field(default_factory=dict)
    step_reports: list[StepReport] = field(default_factory=list)
    model_reports: list[ModelReport] = field(default_factory=list)
    alive: Ints = field(init=False)
    fates: Fates = field(init=False)

    def __post_init__(self) -> None:
        size = self.stream.records
        self.alive = np.arange(size, dtype=np.int64)
        steps = [step.id for step in self.recipe.steps]
        self.fates = Fates(
            steps=steps,
            reasons=[],
            step=np.full(size, -1, dtype=np.int16),
            reason=np.full(size, -1, dtype=np.int16),
            value=np.full(size, np.nan),
            bound=np.full(size, np.nan),
        )

    def decide_all(self) -> None:
        """Work through the chain."""
        for stretch in group_steps(self.recipe.steps):
            self._measure(stretch)
            rest = [step for step in stretch if not is_filter(step)]
            for step in stretch:
                if is_filter(step):
                    self._finish(step)
            self._score(rest)
            for step in rest:
                self._finish(step)

    # --- numbers ------------------------------------------------------------------------

    def _measure(self, stretch: Sequence[Step]) -> None:
        """One read for everything that this stretch takes from text alone."""
        wanted = [s for s in stretch if isinstance(s.selector, Measures) or s.keys.group]
        if not wanted:
            return
        names = ", ".join(step.id for step in wanted)
        self.observer.started(f"measuring ({names})", len(self.alive))
        codes: dict[str, dict[object, int]] = {step.id: {} for step in wanted}
        for window in self.stream.windows(self.alive, self.recipe.run.window):
            left = window
            for step in wanted:
                self._measure_window(step, left, codes[step.id])
                if is_filter(step):
                    left = self._survivors(step, left)
            self.observer.advanced(len(window.rows), 0)
        self.observer.finished()

    def _measure_window(self, step: Step, window: Window, codes: dict[object, int]) -> None:
        if isinstance(step.selector, Measures):
            for row, record in zip(window.rows, window.records, strict=True):
                for name, value in measure_step(step, record).items():
                    self._column(f"{step.id}.{name}")[row] = value
        if step.keys.group is not None:
            known = self.groups.setdefault(
                step.id, np.full(self.stream.records, -1, dtype=np.int64)
            )
            for row, record in zip(window.rows, window.records, strict=True):
                peers = repr(record.fields.get(step.keys.group))
                known[row] = codes.setdefault(peers, len(codes))

    def _survivors(self, step: Step, window: Window) -> Window:
        """A filter's decision over one window, so that the next step does not measure in vain."""
        decisions, _ = self._decide(step, window.rows)
        kept = decisions.kept
        records = tuple(r for r, keep in zip(window.records, kept, strict=True) if keep)
        return Window(window.index, window.rows[kept], records)

    def _score(self, steps: Sequence[Step]) -> None:
        """Run every model that these steps need, one after the other, over what is alive."""
        wanted: dict[str, tuple[Step, str, list[str]]] = {}
        for step in steps:
            for model, likelihood in step.needs:
                view = step.view(model)
                if f"{view}.{likelihood}" not in self.likelihoods:
                    names = wanted.setdefault(view, (step, model, []))[2]
                    if likelihood not in names:
                        names.append(likelihood)
        for view, (step, model, names) in wanted.items():
            self._run_model(view, step, model, tuple(names))

    def _run_model(self, view: str, step: Step, model: str, names: tuple[str, ...]) -> None:
        stage = ScoringStage(
            model=view,
            backend=self.recipe.models[model].backend,
            prompt=self.recipe.prompt(step, model),
            likelihoods=names,
            resources=_Resources(self.manager, self.stream),
            too_long=self.recipe.models[model].keys.too_long,
            store=root_of(self.recipe.run.store),
            progress=self.observer.advanced,
        )
        size = self.stream.records
        for name in names:
            self.likelihoods[f"{view}.{name}"] = LikelihoodColumn.empty(size)
        executor: Executor = self.recipe.executor.component.create(self.recipe.executor.options)
        self.observer.started(f"scoring ({view})", len(self.alive))
        started, cost, batch_tokens = time.monotonic(), Cost(), 0
        facts: dict[str, object] = {}
        times_scored = np.zeros(size, dtype=np.int8)
        windows = self.stream.windows(self.alive, self.recipe.run.window)
        for answer in executor.score(stage, windows):
            for name, column in answer.columns.items():
                self.likelihoods[f"{view}.{name}"].put(answer.rows, column)
            if stage.too_long == "cut_answer":
                self._column(f"{view}.cut")[answer.rows] = answer.cut
            cost += answer.cost
            batch_tokens, facts = answer.batch_tokens, dict(answer.facts)
            times_scored[answer.rows] += 1
        self.observer.finished()
        once = np.zeros(size, dtype=np.int8)
        once[self.alive] = 1
        if (times_scored != once).any():
            raise QaqfilterError(
                f"executor {self.recipe.executor.component.name!r} scored "
                f"{int((times_scored != once).sum())} of {len(self.alive)} records not exactly "
                f"once with model {view!r}"
            )
        self.model_reports.append(
            ModelReport(
                name=view,
                records=len(self.alive),
                cost=cost,
                seconds=time.monotonic() - started,
                batch_tokens=batch_tokens,
                fingerprint=fingerprint(facts),
                facts=facts,
            )
        )

    # --- decisions ----------------------------------------------------------------------

    def _finish(self, step: Step) -> None:
        decisions, table = self._decide(step, self.alive)
        self.manager.step_finished(step.id, table, decisions)
        gone = self.alive[~decisions.kept]
        offset, names = len(self.fates.reasons), list(decisions.reasons)
        self.fates.reasons.extend(names)
        self.fates.step[gone] = self.fates.steps.index(step.id)
        self.fates.reason[gone] = decisions.reason[~decisions.kept] + offset
        self.fates.value[gone] = decisions.value[~decisions.kept]
        self.fates.bound[gone] = decisions.bound[~decisions.kept]
        reasons, counts = np.unique(decisions.reason[~decisions.kept], return_counts=True)
        self.step_reports.append(
            StepReport(
                id=step.id,
                use=step.block.component.name,
                read=len(self.alive),
                kept=int(decisions.kept.sum()),
                rejected={names[r]: int(c) for r, c in zip(reasons, counts, strict=True)},
            )
        )
        self.alive = self.alive[decisions.kept]

    def _decide(self, step: Step, rows: Ints) -> tuple[Decisions, Table]:
        table = self._table(step, rows)
        for name, values in score_step(step, table).items():
            if len(rows) == self.stream.records:
                self.columns[f"{step.id}.{name}"] = values
            else:
                self._column(f"{step.id}.{name}")[rows] = values
            table.columns[f"{step.id}.{name}"] = values
        group = self.groups.get(step.id)
        return decide_step(step, table, None if group is None else group[rows]), table

    def _table(self, step: Step, rows: Ints) -> Table:
        """The rows as this step sees them: its own measured columns under their bare names too."""
        # Where nothing is gone yet, the columns themselves and no copies: half the memory.
        here = slice(None) if len(rows) == self.stream.records else rows
        likelihoods = {}
        for model, name in step.needs:
            column = self.likelihoods[f"{step.view(model)}.{name}"]
            likelihoods[f"{model}.{name}"] = column.take(here)
        columns = {name: read_only(values[here]) for name, values in self.columns.items()}
        own = f"{step.id}."
        bare = {k.removeprefix(own): v for k, v in columns.items() if k.startswith(own)}
        return Table(rows, likelihoods, bare | columns)

    def _column(self, name: str) -> Floats:
        if name not in self.columns:
            self.columns[name] = np.full(self.stream.records, np.nan)
        return self.columns[name]
