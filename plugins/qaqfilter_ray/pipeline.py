"""The pipeline of Ray Data: ranges of the input are read, tokenised, and scored model by model."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from qaqfilter import Divided, QaqfilterError, Stage
from qaqfilter_ray.cluster import Crew, Node, nodes
from qaqfilter_ray.ledger import Ledger
from qaqfilter_ray.rows import Failure, Row
from qaqfilter_ray.worker import Scorer, Tokenizer


class Ranges(Datasource):
    """A read task for each range of windows; what they share is sent once."""

    def __init__(self, divided: Divided) -> None:
        self._shared = ray.put(pickle.dumps(divided.shared))
        self._ranges = divided.ranges

    def estimate_inmemory_data_size(self) -> int | None:
        """Nobody knows."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One for each range, whatever is asked for: a range cannot be divided."""
        nothing = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(partial(_read, self._shared, part), nothing) for part in self._ranges]


def _read(shared: Any, part: object) -> Iterator[pa.Table]:
    try:
        for window in pickle.loads(ray.get(shared)).windows(part):
            yield Row(pickle.dumps(window)).block()
    except QaqfilterError as error:
        yield Row(failed=Failure.of(error)).block()


def ledger_of(stages: int, divided: Divided) -> Any:
    """The ledger as an actor beside this process; if it dies, the deaths before are forgotten."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(Ledger).options(
        num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
    )
    return actor.remote([divided.windows] * stages)


def pipeline(
    stages: Sequence[Stage], divided: Divided, sizes: Sequence[Crew], ledger: Any
) -> Dataset:
    """A data set of one row for each window, with the answer of every stage."""
    # Ray Data runs tasks on CPUs that no actor holds, and where there are none it waits for ever.
    # So who reads or tokenises claims no CPU; that only as many read as CPUs are left is our doing.
    cpus = ray.cluster_resources().get("CPU", 1)
    left = int(cpus - sum(crew.size * crew.cpus + crew.tokenizers for crew in sizes))
    beside = _beside_gpus(nodes())
    data: Dataset = ray.data.read_datasource(
        Ranges(divided),
        concurrency=max(1, left),
        num_cpus=0,
        override_num_blocks=len(divided.ranges),
        **beside,
    )
    for number, (stage, crew) in enumerate(zip(stages, sizes, strict=True)):
        travelling = pickle.dumps(stage)
        if crew.tokenizers:
            data = data.map_batches(
                Tokenizer,
                fn_constructor_args=(travelling,),
                batch_size=1,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=min(crew.tokenizers, divided.windows)),
                num_cpus=0,
                **beside,
            )
        data = data.map_batches(
            Scorer,
            fn_constructor_args=(travelling, number, ledger),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=min(crew.size, divided.windows)),
            num_cpus=crew.cpus,
            num_gpus=crew.gpus or None,
        )
    return data


def _beside_gpus(there: Sequence[Node]) -> dict[str, Any]:
    """Where to read and to tokenise: on nodes without GPUs if there are any, else anywhere."""
    without = [node.id for node in there if not node.gpus]
    if len(without) in (0, len(there)):
        return {}
    return {
        "label_selector": {"ray.io/node-id": f"in({','.join(without)})"},
        "fallback_strategy": [{"label_selector": {}}],
    }
