"""What one model's windows come to: answers become columns, and at the end an account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from qaqfilter.columns import Columns
from qaqfilter.costs import Cost
from qaqfilter.errors import KillsWorkers, QaqfilterError
from qaqfilter.execution import WindowScores
from qaqfilter.identity import fingerprint
from qaqfilter.input_parts import digest_of_row
from qaqfilter.nulls import NullLimit
from qaqfilter.reports import ModelReport, WorkerReport
from qaqfilter.stages import ScoringStage
from qaqfilter.types import Ints


@dataclass(slots=True)
class Taking:
    """Takes in the answers of one model over `rows`; `executor` is who gives them.

    `limit` ends the run where too many likelihoods are null by the model's fault.
    """

    stage: ScoringStage
    rows: Ints
    columns: Columns
    limit: NullLimit
    executor: str
    tokenizer: str = ""
    _cost: Cost = field(default_factory=Cost)
    _batch_tokens: int = 0
    _facts: Mapping[str, object] = field(default_factory=dict)
    _workers: dict[str, WorkerReport] = field(default_factory=dict)
    _killers: dict[str, str] = field(default_factory=dict)
    _times: Ints = field(init=False)
    _cut: Ints = field(init=False)
    _started: float = field(default_factory=time.monotonic)
    _latest: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._times = np.zeros(self.columns.size, dtype=np.int8)
        self._cut = np.zeros(self.columns.size, dtype=np.int32)

    def take(self, answer: WindowScores) -> None:
        """Put a window's numbers where they belong. Raises TooManyBadRecords."""
        if not self._facts:
            self.tokenizer = answer.tokenizer
        for name, column in answer.columns.items():
            entries = self.columns.entries(answer.rows)
            self.columns.likelihood(f"{self.stage.model}.{name}").put(entries, column)
            if name in self.stage.tokens:
                self._put_tokens(answer, name)
        self.limit.see(answer)
        self._cut[answer.rows] = answer.cut
        self._cost += answer.cost
        if answer.facts:
            self._batch_tokens, self._facts = answer.batch_tokens, dict(answer.facts)
        self._times[answer.rows] += 1
        self._killers |= {digest_of_row(killer.row): killer.why for killer in answer.killers}
        self._latest = time.monotonic()
        if answer.worker:
            before = self._workers.get(answer.worker, WorkerReport())
            self._workers[answer.worker] = replace(
                before,
                records=before.records + len(answer.rows),
                tokens=before.tokens + answer.cost.computed,
                seconds=before.seconds + answer.cost.seconds,
            )

    def report(self) -> ModelReport:
        """The account. Raises QaqfilterError where not every record was scored exactly once."""
        once = np.zeros(self.columns.size, dtype=np.int8)
        once[self.rows] = 1
        if (self._times != once).any():
            raise QaqfilterError(
                f"{self.executor} scored {int((self._times != once).sum())} of {len(self.rows)} "
                f"records not exactly once with model {self.stage.model!r}"
            )
        if self.stage.too_long == "cut_answer" or self._cut.any():
            self.columns.number(f"{self.stage.model}.cut")[self.rows] = self._cut[self.rows]
        return ModelReport(
            name=self.stage.model,
            records=len(self.rows),
            cost=self._cost,
            seconds=self._latest - self._started,
            batch_tokens=self._batch_tokens,
            fingerprint=fingerprint(self._facts),
            facts=self._facts,
            tokenizer=self.tokenizer,
            workers=dict(sorted(self._workers.items())),
        )

    def refuse_killers(self) -> None:
        """Raise KillsWorkers where records kill whoever scores them."""
        if self._killers:
            why = next(iter(self._killers.values()))
            raise KillsWorkers(f"{len(self._killers)} records {why}", self._killers)

    def _put_tokens(self, answer: WindowScores, name: str) -> None:
        view = f"{self.stage.model}.{name}"
        if name not in answer.tokens:
            raise QaqfilterError(
                f"{self.executor} gave no tokens of {view}, which were asked for: it must hand on "
                "what its stage yields whole"
            )
        entries = self.columns.entries(answer.rows)
        self.columns.put_tokens(view, entries, answer.tokens[name])
