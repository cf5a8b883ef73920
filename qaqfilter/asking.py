"""One model over the rows of a run: the executor is started, its answers become columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from qaqfilter.blame import Plugin
from qaqfilter.columns import Columns
from qaqfilter.costs import Cost
from qaqfilter.details import detailed
from qaqfilter.errors import QaqfilterError
from qaqfilter.execution import Executor, Stage, WindowScores
from qaqfilter.identity import fingerprint
from qaqfilter.manager import PluginManager
from qaqfilter.model_files import ModelFiles
from qaqfilter.nulls import NullLimit
from qaqfilter.one_tokenizer import check_one_tokenizer, tokenizer_digest
from qaqfilter.portable import Package, SharedWindows, packed, unpacked
from qaqfilter.recipe import Recipe, Step
from qaqfilter.reports import ModelReport, Observer
from qaqfilter.scoring import ScoringStage
from qaqfilter.selectors import OneTokenizer
from qaqfilter.store_places import root_of
from qaqfilter.stream import RecordStream
from qaqfilter.types import Ints, Record, Window


@dataclass(slots=True)
class _Resources:
    """What backends and prompts may ask of the run."""

    manager: PluginManager
    stream: RecordStream

    def model_files(self, location: str, revision: str | None = None) -> ModelFiles:
        return self.manager.locate(location, revision)

    def records(self) -> Iterator[Record]:
        return self.stream.read()


def make_stage(
    recipe: Recipe,
    manager: PluginManager,
    stream: RecordStream,
    step: Step,
    *,
    model: str,
    likelihoods: Sequence[str],
) -> ScoringStage:
    """What asks a model by the prompt that `step` has for it; nothing is opened yet."""
    keys = recipe.models[model].keys

    def remake() -> tuple[Callable[..., ScoringStage], tuple[object, ...]]:
        return remade_stage, (packed(recipe, manager, stream), step.id, model, tuple(likelihoods))

    return ScoringStage(
        model=step.view(model),
        backend=recipe.models[model].backend,
        prompt=recipe.prompt(step, model),
        likelihoods=tuple(likelihoods),
        resources=_Resources(manager, stream),
        too_long=keys.too_long,
        store=root_of(recipe.run.store),
        sha256=keys.sha256,
        window_seconds=recipe.run.window_seconds,
        tokens=frozenset(n for n in likelihoods if f"{step.view(model)}.{n}" in detailed(recipe)),
        remake=remake,
    )


def remade_stage(
    package: Package, step: str, model: str, likelihoods: tuple[str, ...]
) -> ScoringStage:
    """The stage of a run, in another process."""
    run = unpacked(package)
    (asking,) = (one for one in run.recipe.steps if one.id == step)
    return make_stage(
        run.recipe, run.manager, run.stream, asking, model=model, likelihoods=likelihoods
    )


@dataclass(slots=True)
class Models:
    """The models of a recipe, asked one after the other; `reports` say what each one cost.

    `scored` is called when the first numbers of a model are there. `fit_on` is what a model that is
    fitted on the input gets to read, where that is not the stream.
    """

    recipe: Recipe
    manager: PluginManager
    observer: Observer
    stream: RecordStream
    columns: Columns
    scored: Callable[[], None]
    fit_on: RecordStream | None = None
    reports: list[ModelReport] = field(default_factory=list)
    _compared: bool = False

    def __call__(self, step: Step, model: str, likelihoods: Sequence[str], rows: Ints) -> None:
        """Score `rows` by the prompt that `step` has for `model`."""
        self._compare_tokenizers()
        view = step.view(model)
        keys = self.recipe.models[model].keys
        stage = make_stage(
            self.recipe, self.manager, self._fit_on, step, model=model, likelihoods=likelihoods
        )
        stage.progress = self.observer.advanced
        limit = NullLimit(str(stage.culprit), len(rows), self.recipe.input.max_errors)
        block = self.recipe.executor
        executor: Executor = block.make()
        self.observer.started(f"scoring ({view})", len(rows))
        started, cost, batch_tokens = time.monotonic(), Cost(), 0
        facts: dict[str, object] = {}
        tokenizer = ""
        times_scored = np.zeros(self.columns.size, dtype=np.int8)
        cut = np.zeros(self.columns.size, dtype=np.int32)
        travelling = partial(packed, self.recipe, self.manager, self.stream)
        windows = SharedWindows(self.stream, rows, self.recipe.run.window, travelling)
        for answer in _answers(executor, block.plugin, stage, windows):
            if not facts:
                self.scored()
                tokenizer = answer.tokenizer
            for name, column in answer.columns.items():
                entries = self.columns.entries(answer.rows)
                self.columns.likelihood(f"{view}.{name}").put(entries, column)
                if name in stage.tokens:
                    self._put_tokens(answer, view, name)
            limit.see(answer)
            cut[answer.rows] = answer.cut
            cost += answer.cost
            batch_tokens, facts = answer.batch_tokens, dict(answer.facts)
            times_scored[answer.rows] += 1
        self.observer.finished()
        once = np.zeros(self.columns.size, dtype=np.int8)
        once[rows] = 1
        if (times_scored != once).any():
            raise QaqfilterError(
                f"{block.plugin} scored {int((times_scored != once).sum())} of "
                f"{len(rows)} records not exactly once with model {view!r}"
            )
        if keys.too_long == "cut_answer" or cut.any():
            self.columns.number(f"{view}.cut")[rows] = cut[rows]
        self.reports.append(
            ModelReport(
                name=view,
                records=len(rows),
                cost=cost,
                seconds=time.monotonic() - started,
                batch_tokens=batch_tokens,
                fingerprint=fingerprint(facts),
                facts=facts,
                tokenizer=tokenizer,
            )
        )

    @property
    def _fit_on(self) -> RecordStream:
        return self.stream if self.fit_on is None else self.fit_on

    def _compare_tokenizers(self) -> None:
        """Refuse models of several tokenizers before any of them has scored for hours."""
        if self._compared:
            return
        self._compared = True
        for step in self.recipe.steps:
            if not isinstance(step.selector, OneTokenizer):
                continue
            found = {}
            for model in step.selector.one_tokenizer:
                stage = make_stage(
                    self.recipe, self.manager, self._fit_on, step, model=model, likelihoods=()
                )
                with stage.opened() as opened, stage.culprit.blamed("encoding texts"):
                    found[stage.model] = tokenizer_digest(opened.backend)
            check_one_tokenizer([step], found)

    def _put_tokens(self, answer: WindowScores, view: str, name: str) -> None:
        if name not in answer.tokens:
            raise QaqfilterError(
                f"{self.recipe.executor.plugin} gave no tokens of "
                f"{view}.{name}, which were asked for: it must hand on what its stage yields whole"
            )
        entries = self.columns.entries(answer.rows)
        self.columns.put_tokens(f"{view}.{name}", entries, answer.tokens[name])


def _answers(
    executor: Executor, plugin: Plugin, stage: Stage, windows: Iterable[Window]
) -> Iterator[WindowScores]:
    """What an executor yields; what it raises of its own is its fault, and not the model's."""
    with plugin.blamed("score()"):
        for answer in executor.score(stage, windows):
            if not isinstance(answer, WindowScores):
                raise TypeError(f"it yielded a {type(answer).__name__}, not WindowScores")
            yield answer
