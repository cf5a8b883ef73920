"""The executor `ray`: stages go out to the workers of a cluster, answers come back in any order."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import ray
from ray.data import DataContext

from qaqfilter import BackendError, Divided, Divisible, Stage, Travels, Window, WindowScores
from qaqfilter_ray.cluster import Crew, check_names, check_nodes, crews, joined, nodes
from qaqfilter_ray.options import RayOptions
from qaqfilter_ray.pipeline import ledger_of, pipeline
from qaqfilter_ray.rows import Row


class RayExecutor:
    """Scores windows on a cluster; windows of this process alone are scored in it."""

    def __init__(self, config: RayOptions) -> None:
        self._options = config
        self._tell: Callable[[str], None] = lambda text: None

    @contextmanager
    def start(self, run: Travels | None, tell: Callable[[str], None]) -> Iterator[None]:
        """Join the cluster or start one, and see whether the run can go there.

        Raises UsageError where it lacks room, plugins, models or files.
        """
        if run is None:
            yield
            return
        self._tell = tell
        models = run.models
        check_names(self._options, models)
        with joined(self._options.address) as dashboard, _quiet():
            there = nodes()
            for model in models:
                crews(self._options, [model], there)
            check_nodes(run, self._options, models)
            cpus, gpus = (sum(getattr(n, what) for n in there) for what in ("cpus", "gpus"))
            where = f"; watch it at http://{dashboard}" if dashboard else ""
            count = f"{len(there)} node{'s' * (len(there) != 1)}"
            tell(f"Ray: {count} with {cpus:g} CPUs and {gpus:g} GPUs{where}")
            yield

    def score(self, stage: Stage, windows: Iterable[Window]) -> Iterator[WindowScores]:
        """Yield one WindowScores a window, in any order."""
        for _, answer in self.score_together([stage], windows):
            yield answer

    def score_together(
        self, stages: Sequence[Stage], windows: Iterable[Window]
    ) -> Iterator[tuple[int, WindowScores]]:
        """The same for several models: at once where the cluster has room, else one by one."""
        if not isinstance(windows, Divisible):
            for number, stage in enumerate(stages):
                with stage.open() as score:
                    yield from ((number, answer) for answer in score(windows))
            return
        divided = windows.divided()
        if not divided.windows:
            return
        names = [stage.model.rpartition("@")[2] for stage in stages]
        if sizes := crews(self._options, names, nodes()):
            yield from self._answers(stages, divided, sizes)
            return
        self._tell(
            f"the cluster has no room for the workers of {', '.join(names)} at once: one model is "
            "scored after the other"
        )
        for number, (stage, name) in enumerate(zip(stages, names, strict=True)):
            size = crews(self._options, [name], nodes())
            yield from ((number, answer) for _, answer in self._answers([stage], divided, size))

    def _answers(
        self, stages: Sequence[Stage], divided: Divided, sizes: Sequence[Crew]
    ) -> Iterator[tuple[int, WindowScores]]:
        """What the pipeline gives. Raises what a worker did, and BackendError for Ray's own."""
        ledger = ledger_of(len(stages), divided)
        data = pipeline(stages, divided, sizes, ledger)
        try:
            for block in data.iter_batches(batch_size=1, batch_format="pyarrow"):
                row = Row.of(block)
                if row.failed is not None:
                    raise row.failed.error()
                for number, pickled in enumerate(row.answers):
                    answer: WindowScores = pickle.loads(pickled)
                    stages[number].progress(len(answer.rows), answer.cost.planned)
                    yield number, answer
            if died := ray.get(ledger.died.remote()):
                self._tell(f"{died} workers died at work; what they had begun was scored again")
        except ray.exceptions.RayError as error:
            raise BackendError(f"Ray gave the work up: {type(error).__name__}: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data without words of its own, and a block for each window; as it was afterwards."""
    context = DataContext.get_current()
    ours = {"enable_progress_bars": False, "target_max_block_size": 1, "target_min_block_size": 0}
    before = {name: getattr(context, name) for name in ours}
    logger = logging.getLogger("ray.data")
    level = logger.level
    for name, value in ours.items():
        setattr(context, name, value)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)
