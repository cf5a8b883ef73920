"""The same run on a cluster: reading and scoring spread by Ray Data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qaqfilter import Component, Executor, Needs, hookimpl
from qaqfilter_ray.options import RayOptions

if TYPE_CHECKING:
    from qaqfilter_ray.executor import RayExecutor


def _create(config: RayOptions) -> RayExecutor:
    from qaqfilter_ray.executor import RayExecutor

    return RayExecutor(config)


@hookimpl
def qaqfilter_executors() -> Iterable[Component[Executor]]:
    """Offer `ray`."""
    yield Component(
        "ray",
        RayOptions,
        _create,
        "on a Ray cluster, or on all cores of this machine",
        needs=Needs("qaqfilter[ray]", ("ray",)),
    )
