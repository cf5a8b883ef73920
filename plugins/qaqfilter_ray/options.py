"""The options of the executor `ray`."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from qaqfilter import Options


class WorkerOptions(Options):
    """What a worker of a model takes, and how many of them there are."""

    num_cpus: float | None = Field(None, gt=0, description="CPUs that a worker holds; 1 if none.")
    num_gpus: float | None = Field(
        None,
        ge=0,
        description=(
            "GPUs that a worker holds, or a part of one. Default: 1 where the cluster has any."
        ),
    )
    concurrency: PositiveInt | None = Field(
        None, description="Workers of a model. Default: as many as the cluster has room for."
    )


class RayOptions(WorkerOptions):
    """Where the cluster is, and what each worker takes of it."""

    address: str | None = Field(
        None,
        description=(
            "A running cluster: `auto` on one of its nodes, or `host:6379`. Default: one of this "
            "machine alone, started for the run and stopped after it."
        ),
    )
    tokenizers: int | None = Field(
        None,
        ge=0,
        description=(
            "Actors without a GPU that tokenise for each model. Default: 1 for every 4 workers "
            "that hold a GPU; workers on CPUs tokenise for themselves."
        ),
    )
    models: dict[str, WorkerOptions] = Field(
        default_factory=dict,
        description="What is different for a model of the recipe, by its name.",
    )

    def of(self, model: str) -> WorkerOptions:
        """What holds for a model: what its own block says, else the executor's."""
        own = self.models.get(model, WorkerOptions())
        return WorkerOptions(
            num_cpus=own.num_cpus or self.num_cpus,
            num_gpus=self.num_gpus if own.num_gpus is None else own.num_gpus,
            concurrency=own.concurrency or self.concurrency,
        )
