"""A plan of a run: a sample is tokenised and planned as a run would; no weights are loaded.

Filters are worked through, since they need the text alone. Of every other step nobody knows yet
what it drops, so what comes behind one is counted as if it dropped nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qaqfilter.addresses import without_credentials
from qaqfilter.asking import make_stage
from qaqfilter.chain import Chain
from qaqfilter.columns import Columns
from qaqfilter.deciding import is_filter, is_scorer
from qaqfilter.errors import RunDirectoryError
from qaqfilter.estimates import MemoryPlan, ModelPlan, RecipePlan, StepPlan
from qaqfilter.identity import fingerprint
from qaqfilter.manager import PluginManager
from qaqfilter.memory import PROCESS, SCORE, bytes_a_record
from qaqfilter.options import STDOUT
from qaqfilter.planning import Plan
from qaqfilter.preparing import Prepared, Preparer
from qaqfilter.protocols import CountsWork, EstimatesMemory, Source
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer
from qaqfilter.run_places import place_of
from qaqfilter.stages import ScoringStage
from qaqfilter.store import ScoreStore
from qaqfilter.stream import RecordStream
from qaqfilter.types import Ints, Status
from qaqfilter.wanting import Asked


def plan_recipe(
    recipe: Recipe,
    manager: PluginManager,
    observer: Observer,
    *,
    sample: int = 200,
    limit: int | None = None,
) -> RecipePlan:
    """What a run would ask of its models. Nothing is written, no weights are loaded.

    `sample` records, spread evenly over the input, are tokenised; `limit` reads only so many.
    Raises a QaqfilterError where a run would, up to the first likelihood.
    """
    source: Source = recipe.source.make()
    stream = RecordStream(source, recipe.input, limit, plugin=recipe.source.plugin)
    observer.started("reading", None)
    stream.survey(lambda bad: None, observer.advanced)
    observer.finished()
    columns = Columns(stream.records, units=stream.units)
    asked = _Planned(recipe, manager, observer, stream, columns)
    chain = Chain(recipe, manager, observer, stream, columns, asked, tells=False)
    chain.alive = spread(stream.records, sample)
    sampled = len(chain.alive)
    counts = chain.ask_undecided()
    plan = RecipePlan(
        name=recipe.name,
        folder=without_credentials(recipe.output.path),
        records=stream.records,
        bad=stream.bad,
        sampled=sampled,
        steps=tuple(
            StepPlan(step.id, step.block.component.name, *counts[step.id], is_filter(step))
            for step in recipe.steps
        ),
        models=tuple(asked.models),
        memory=MemoryPlan(PROCESS, _columns_of(recipe, stream), 0, 0, complete=True),
    )
    return replace(plan, memory=_with_models(plan, stored=recipe.run.store is not False))


def _with_models(plan: RecipePlan, *, stored: bool) -> MemoryPlan:
    """The memory, with what the models take and what is remembered of their scores."""
    scores = sum(plan.whole(count) for model in plan.models for count in model.requests.values())
    return replace(
        plan.memory,
        index=SCORE * scores if stored else 0,
        model=max((model.memory or model.weights or 0 for model in plan.models), default=0),
        complete=all(model.memory is not None for model in plan.models),
    )


def _columns_of(recipe: Recipe, stream: RecordStream) -> int:
    units = stream.units.total / stream.records if stream.units else 1
    return bytes_a_record(recipe, units) * stream.records


def spread(records: int, sample: int) -> Ints:
    """`sample` ascending rows, spread evenly over `records`; all if there are no more."""
    if sample >= records:
        return np.arange(records, dtype=np.int64)
    return (np.arange(sample, dtype=np.int64) * 2 + 1) * records // (2 * sample)


@dataclass(slots=True)
class _Planned:
    """Stands where the models stand in a run: plans what they would be asked."""

    recipe: Recipe
    manager: PluginManager
    observer: Observer
    stream: RecordStream
    columns: Columns
    models: list[ModelPlan] = field(default_factory=list)

    def __call__(self, asked: Sequence[Asked], rows: Ints) -> None:
        """Tokenise and plan; the rows then count as scored, so that no later step asks again."""
        for one in asked:
            self._plan(one, rows)

    def _plan(self, asked: Asked, rows: Ints) -> None:
        step, model, likelihoods = asked
        stage = make_stage(
            self.recipe, self.manager, self.stream, step, model=model, likelihoods=likelihoods
        )
        self.observer.started(f"planning ({stage.model})", len(rows))
        counts = _Counts()
        with stage.opened() as (backend, prompt, facts):
            prepare = Preparer(backend, prompt, likelihoods, stage.too_long)
            store = _store(stage, facts)
            for window in self.stream.windows(rows, self.recipe.run.window):
                with stage.culprit.blamed("preparing its texts"):
                    prepared = prepare(window)
                wanted = _detailed(stage, prepared, likelihoods)
                counts.add(prepared.plan, store, wanted)
                counts.cut += int((prepared.cut > 0).sum())
                for number, name in enumerate(likelihoods):
                    status = prepared.status[:, number]
                    counts.requests[name] += int((status == Status.OK).sum())
                for row in prepared.status:
                    counts.missing.update({Status(s).reason for s in row if s != Status.OK})
                self.observer.advanced(len(window.rows), 0)
            shares, max_length = isinstance(backend, CountsWork), backend.max_length
            with stage.culprit.blamed("estimating its memory"):
                memory = (
                    backend.memory(counts.longest) if isinstance(backend, EstimatesMemory) else None
                )
        for name in likelihoods:
            status = self.columns.likelihood(f"{stage.model}.{name}").status
            status[self.columns.entries(rows)] = Status.OK
        self.observer.finished()
        before = self.recipe.steps[: self.recipe.steps.index(step)]
        self.models.append(
            ModelPlan(
                model=stage.model,
                step=step.id,
                upper_bound=any(not is_filter(s) and not is_scorer(s) for s in before),
                records=len(rows),
                requests={name: counts.requests[name] for name in likelihoods},
                missing=dict(sorted(counts.missing.items())),
                cut=counts.cut,
                sequences=counts.sequences,
                asked=counts.asked,
                planned=counts.planned,
                stored=counts.stored,
                shared=counts.shared,
                shares=shares,
                max_length=max_length,
                weights=_weights(stage),
                longest=counts.longest,
                memory=memory,
                speed=_speed(self.recipe.output.path, facts),
            )
        )


@dataclass(slots=True)
class _Counts:
    """Adds up over windows; the plan of one is the plan that a run would make of it."""

    requests: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    sequences: int = 0
    longest: int = 0
    asked: int = 0
    planned: int = 0
    stored: int = 0
    shared: int = 0
    _beginnings: set[tuple[int, ...]] = field(default_factory=set)

    def add(self, plan: Plan, store: ScoreStore | None, detailed: Sequence[bool]) -> None:
        self.sequences += len(plan.sequences)
        self.asked += plan.asked
        self.planned += plan.tokens
        known = _known(plan, store, detailed)
        for index, sequence in enumerate(plan.sequences):
            self.longest = max(self.longest, len(sequence.ids))
            if index in known:
                self.stored += len(sequence.ids)
            elif sequence.prefix:
                beginning = sequence.ids[: sequence.prefix]
                self.shared += sequence.prefix if beginning in self._beginnings else 0
                self._beginnings.add(beginning)


def _known(plan: Plan, store: ScoreStore | None, detailed: Sequence[bool]) -> set[int]:
    """The sequences of which the store knows all that is asked for."""
    if store is None:
        return set()
    keys = plan.keys()
    found = store.find(keys)
    wanted = [key for key, want in zip(keys, detailed, strict=True) if want and key in found]
    tokens = store.tokens.find(wanted) if wanted else {}
    lacking = {key for key in wanted if found[key].status == Status.OK and key not in tokens}
    found = {key: score for key, score in found.items() if key not in lacking}
    users = enumerate(plan.requests_by_sequence())
    return {index for index, requests in users if all(keys[r] in found for r in requests)}


def _detailed(stage: ScoringStage, prepared: Prepared, likelihoods: Sequence[str]) -> list[bool]:
    """For each request of a plan whether it is wanted by the token."""
    _, likelihood = np.nonzero(prepared.status == Status.OK)
    return [likelihoods[number] in stage.tokens for number in likelihood.tolist()]


def _store(stage: ScoringStage, facts: Mapping[str, object]) -> ScoreStore | None:
    """The scores that are there; where there are none, no folder is made."""
    if stage.store is None or not (folder := stage.store / fingerprint(facts)).is_dir():
        return None
    return ScoreStore(folder)


def _weights(stage: ScoringStage) -> int | None:
    if stage.location is None:
        return None
    revision = getattr(stage.backend.options, "revision", None)
    path = stage.resources.model_files(stage.location, revision).path
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _speed(path: str, facts: Mapping[str, object]) -> float | None:
    """Tokens a second of this very model in the run that is in the folder, or at the address."""
    try:
        manifest = None if path == STDOUT else place_of(path).manifest()
    except RunDirectoryError:  # the run itself will tell
        return None
    if manifest is None:
        return None
    same = [m for m in manifest.scored_by if m.fingerprint == fingerprint(facts)]
    computed, seconds = sum(m.cost.computed for m in same), sum(m.seconds for m in same)
    return computed / seconds if computed and seconds > 0 else None
