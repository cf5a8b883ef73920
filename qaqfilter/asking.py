"""Models over the rows of a run: the executor gets their stages, its answers become columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from qaqfilter.blame import Plugin
from qaqfilter.columns import Columns
from qaqfilter.details import detailed
from qaqfilter.execution import Executor, ScoresTogether, Stage, WindowScores
from qaqfilter.manager import PluginManager
from qaqfilter.model_files import ModelFiles
from qaqfilter.nulls import NullLimit
from qaqfilter.one_tokenizer import check_one_tokenizer, tokenizer_digest
from qaqfilter.portable import Package, SharedWindows, Windows, can_travel, packed, unpacked
from qaqfilter.recipe import Recipe, Step
from qaqfilter.reports import ModelReport, Observer
from qaqfilter.selectors import OneTokenizer
from qaqfilter.stages import ScoringStage
from qaqfilter.store_places import root_of
from qaqfilter.stream import RecordStream
from qaqfilter.taking import Taking
from qaqfilter.types import Ints, Record, Window
from qaqfilter.wanting import Asked


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
    """The models of a recipe; `reports` say what each one cost.

    `scored` is called when the first numbers of a model are there. `fit_on` is what a model that is
    fitted on the input gets to read, where that is not the stream. `executor` is the recipe's,
    started; None for a sample, whose windows are not in the files and so stay in this process.
    """

    recipe: Recipe
    manager: PluginManager
    observer: Observer
    stream: RecordStream
    columns: Columns
    scored: Callable[[], None]
    fit_on: RecordStream | None = None
    executor: Executor | None = None
    reports: list[ModelReport] = field(default_factory=list)
    _compared: bool = False

    def __call__(self, asked: Sequence[Asked], rows: Ints) -> None:
        """Score `rows` by the prompts that steps have for models: at once, or one by one.

        Raises KillsWorkers once all of them are scored.
        """
        self._compare_tokenizers()
        executor: Executor = self.executor or self.recipe.executor.make()
        together = isinstance(executor, ScoresTogether)
        for some in [asked] if together else [[one] for one in asked]:
            self._score(executor, some, rows)

    def _score(self, executor: Executor, asked: Sequence[Asked], rows: Ints) -> None:
        plugin, takings = self.recipe.executor.plugin, []
        for step, model, likelihoods in asked:
            stage = make_stage(
                self.recipe, self.manager, self._fit_on, step, model=model, likelihoods=likelihoods
            )
            stage.progress = self.observer.advanced
            limit = NullLimit(str(stage.culprit), len(rows), self.recipe.input.max_errors)
            takings.append(Taking(stage, rows, self.columns, limit, str(plugin)))
        names = ", ".join(taking.stage.model for taking in takings)
        self.observer.started(f"scoring ({names})", len(rows) * len(takings))
        stages = [taking.stage for taking in takings]
        first = True
        for index, answer in _answers(executor, plugin, stages, self._windows(rows)):
            if first:
                self.scored()
                first = False
            takings[index].take(answer)
        self.observer.finished()
        self.reports += [taking.report() for taking in takings]
        for taking in takings:
            taking.refuse_killers()

    def _windows(self, rows: Ints) -> Iterable[Window]:
        size = self.recipe.run.window
        if self.executor is None or not can_travel(self.recipe, self.manager):
            return Windows(self.stream, rows, size)
        travelling = partial(packed, self.recipe, self.manager, self.stream)
        return SharedWindows(self.stream, rows, size, travelling)

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


def _answers(
    executor: Executor, plugin: Plugin, stages: Sequence[Stage], windows: Iterable[Window]
) -> Iterator[tuple[int, WindowScores]]:
    """What an executor yields; what it raises of its own is its fault, and not the model's."""
    with plugin.blamed("score()"):
        if isinstance(executor, ScoresTogether):
            found = executor.score_together(stages, windows)
        else:
            (stage,) = stages
            found = ((0, answer) for answer in executor.score(stage, windows))
        for index, answer in found:
            if not isinstance(answer, WindowScores):
                raise TypeError(f"it yielded a {type(answer).__name__}, not WindowScores")
            yield index, answer
