"""The chain of steps over one input: measure, score, decide, stretch by stretch.

Only columns of numbers are held, as long as the stream; text is read again where it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from qaqfilter.columns import Columns
from qaqfilter.deciding import decide_step, group_steps, is_filter, quotas_of, score_step
from qaqfilter.fates import Fates
from qaqfilter.groups import Group
from qaqfilter.manager import PluginManager
from qaqfilter.measuring import measure
from qaqfilter.quotas import group_reports
from qaqfilter.recipe import Recipe, Step
from qaqfilter.reports import Observer, StepReport
from qaqfilter.selectors import Scores
from qaqfilter.stream import RecordStream
from qaqfilter.table import Table
from qaqfilter.types import Bools, Decisions, Ints, read_only
from qaqfilter.wanting import Asked, asked_by


class Ask(Protocol):
    """Gets the likelihoods of some rows from models into the chain's columns."""

    def __call__(self, asked: Sequence[Asked], rows: Ints) -> None: ...


@dataclass(slots=True)
class Chain:
    """One run's decisions while its chain is worked through.

    `tells`: whether plugins are told of every finished step, as belongs to a run.
    """

    recipe: Recipe
    manager: PluginManager
    observer: Observer
    stream: RecordStream
    columns: Columns
    ask: Ask
    tells: bool = True
    step_reports: list[StepReport] = field(default_factory=list)
    alive: Ints = field(init=False)
    fates: Fates = field(init=False)

    def __post_init__(self) -> None:
        self.alive = np.arange(self.columns.size, dtype=np.int64)
        self.fates = Fates.all_kept(self.columns.size, [step.id for step in self.recipe.steps])

    def score_everything(self) -> None:
        """Measure and score every record for every step, whatever the steps will decide."""
        self._measure(self.recipe.steps, everything=True)
        self._score(self.recipe.steps)

    def decide_all(self) -> None:
        """Work through the chain; what the columns hold already is not asked for again."""
        for stretch in group_steps(self.recipe.steps):
            self._measure(stretch)
            rest = [step for step in stretch if not is_filter(step)]
            for step in stretch:
                if is_filter(step):
                    self._finish(step)
            self._score(rest)
            for step in rest:
                self._finish(step)

    def ask_undecided(self) -> dict[str, tuple[int, int]]:
        """Ask for what would be scored if no step but the filters dropped anything.

        Returns for each step how many of its records come in, and how many go on.
        """
        counts = {}
        for stretch in group_steps(self.recipe.steps):
            self._measure(stretch)
            for step in stretch:
                before = len(self.alive)
                if is_filter(step):
                    self.alive = self.alive[self._keeps(step, self.alive)]
                counts[step.id] = before, len(self.alive)
            self._score([step for step in stretch if not is_filter(step)])
        return counts

    # --- numbers ------------------------------------------------------------------------

    def _measure(self, steps: Sequence[Step], *, everything: bool = False) -> None:
        window = self.recipe.run.window
        measure(
            steps,
            self.alive,
            self.stream,
            self.columns,
            self.observer,
            window=window,
            keeps=None if everything else self._keeps,
        )

    def _keeps(self, step: Step, rows: Ints) -> Bools:
        """A filter's decision over some rows, so that the next step does not measure in vain."""
        decisions, *_ = self._decide(step, rows)
        return decisions.kept

    def _score(self, steps: Sequence[Step]) -> None:
        """Ask every model that these steps need over what is alive."""
        if asked := asked_by(steps, self.columns, self.alive):
            self.ask(asked, self.alive)

    # --- decisions ----------------------------------------------------------------------

    def _finish(self, step: Step) -> None:
        decisions, table, group = self._decide(step, self.alive)
        if self.tells:
            self.manager.step_finished(step.id, table, decisions.shown())
        self.fates.put(step.id, self.alive, decisions)
        out = decisions.reason[~decisions.kept]
        reasons, counts = np.unique(out, return_counts=True)
        names = list(decisions.reasons)
        self.step_reports.append(
            StepReport(
                id=step.id,
                use=step.block.component.name,
                read=len(self.alive),
                kept=int(decisions.kept.sum()),
                rejected={names[r]: int(c) for r, c in zip(reasons, counts, strict=True)},
                groups=() if group is None else group_reports(group, decisions.kept),
            )
        )
        self._tell_shortages(step, group, decisions.kept)
        self._tell_undefined(step, self.step_reports[-1])
        self.alive = self.alive[decisions.kept]

    def _tell_shortages(self, step: Step, group: Group | None, kept: Bools) -> None:
        quotas, keep = quotas_of(step, group), step.keys.keep
        if quotas is None or keep is None or keep.invert:
            return
        lines = list(quotas.shortages(kept))
        if lines:
            title = f"step {step.id!r}: not every group ({step.keys.group}) has its quota"
            self.observer.message("\n  ".join([title, *lines]))

    def _tell_undefined(self, step: Step, report: StepReport) -> None:
        """Not an error: a NaN is a null. But a score that nothing has is seldom meant."""
        if report.read and report.rejected.get("undefined") == report.read:
            self.observer.message(
                f"step {step.id!r}: {step.block.plugin} gave no score (NaN) to any of "
                f"{report.read} records, so none is kept"
            )

    def _decide(self, step: Step, rows: Ints) -> tuple[Decisions, Table, Group | None]:
        table, scored = tables_of(step, rows, self.columns)
        for name, values in score_step(step, scored).items():
            self.columns.put(f"{step.id}.{name}", rows, values)
            table.columns[name] = table.columns[f"{step.id}.{name}"] = read_only(values)
        group = self._group(step, table, rows)
        return decide_step(step, table, group), table, group

    def _group(self, step: Step, table: Table, rows: Ints) -> Group | None:
        if step.keys.group is None:
            return None
        name = step.group_column or f"{step.id}.group"
        if name in self.columns.numbers:
            return Group.of_numbers(table.column(name))
        return self.columns.group(name).take(rows)


def tables_of(step: Step, rows: Ints, columns: Columns) -> tuple[Table, Table]:
    """The rows as the keep rule sees them, and as the step's selector does."""
    needs = [(f"{m}.{name}", f"{step.view(m)}.{name}") for m, name in step.needs]
    table = columns.table(step.id, rows, needs)
    # Who asks no model has nothing to say of one exchange of a conversation.
    if not (isinstance(step.selector, Scores) and needs):
        return table, table
    scored = columns.unit_table(step.id, rows, needs, step.keys.combine)
    _name_cuts(step, scored)
    return table, scored


def _name_cuts(step: Step, table: Table) -> None:
    """What was cut of texts is named by the model, as the likelihoods are, whatever the prompt."""
    for model in dict.fromkeys(model for model, _ in step.needs):
        cut = table.columns.get(f"{step.view(model)}.cut")
        table.columns.pop(f"{model}.cut", None)  # of another prompt
        if cut is not None:
            table.columns[f"{model}.cut"] = cut
