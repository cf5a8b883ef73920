"""The cluster: joined or started, and looked at before anything runs on it."""

from __future__ import annotations

import logging
import math
import os
import pickle
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from qaqfilter import Travels, UsageError
from qaqfilter_ray.muting import muted, muted_start
from qaqfilter_ray.options import RayOptions

LOOK_SECONDS = 120.0
"""So long a node may take to say what it lacks."""
KNOCK_SECONDS = 20.0
"""So long a cluster may take to let somebody in."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is alive, by what it has in all."""

    id: str
    name: str
    cpus: float
    gpus: float

    def room(self, cpus: float, gpus: float) -> int:
        """Workers of such a size that fit."""
        by_gpus = math.floor(self.gpus / gpus) if gpus else math.inf
        return int(min(math.floor(self.cpus / cpus + 1e-9), by_gpus))


@contextmanager
def joined(address: str | None) -> Iterator[str]:
    """Be in a cluster, and know its dashboard's address, empty where there is none.

    A cluster that is started here ends with it. Raises UsageError.
    """
    if ray.is_initialized():  # whoever did it, as in a notebook, goes on to use it
        with muted():
            yield ""
        return
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        settings |= {"num_cpus": os.cpu_count() or 1, "include_dashboard": False}
    try:
        if address is not None:
            _knock(address)
        with muted_start():
            context = ray.init(address, **settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"run.executor.address: no Ray cluster can be joined at {address!r}: {error}; start "
            "one with `ray start --head`, or leave the address out for one of this machine. One "
            "that asks for a token is joined with RAY_AUTH_MODE=token in the environment"
        ) from error
    try:
        with muted():
            yield context.dashboard_url or ""
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would wait for minutes."""
    if address.startswith("ray://"):
        raise UsageError(
            f"run.executor.address: {address!r} is Ray Client, which Ray Data does not go through: "
            "run qaqfilter on a node of the cluster with address: auto, or hand it in with "
            "`ray job submit -- qaqfilter run ...`"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


def nodes() -> list[Node]:
    """The nodes that are alive now."""
    return [
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})",
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers of a model: how many, and what each holds."""

    size: int
    cpus: float
    gpus: float
    tokenizers: int = 0


def crews(options: RayOptions, models: Sequence[str], there: Sequence[Node]) -> list[Crew]:
    """The workers of models that are scored at once. Raises UsageError where they have no room.

    None are returned for several models where the cluster has no room for all of them at once.
    Those whose number the recipe leaves open share what it leaves.
    """
    gpus_there = sum(node.gpus for node in there)
    sizes = []
    for model in models:
        wanted = options.of(model)
        gpus = wanted.num_gpus if wanted.num_gpus is not None else float(gpus_there > 0)
        sizes.append((wanted.concurrency, wanted.num_cpus or 1.0, gpus))
    free = list(there)
    found = [0] * len(models)
    for number in sorted(range(len(models)), key=lambda n: (sizes[n][0] is None, -sizes[n][2])):
        size, cpus, gpus = sizes[number]
        # A model that needs no GPU takes none from one that does.
        open_ones = sum(
            of is None and bool(others) == bool(gpus) and not have
            for (of, _, others), have in zip(sizes, found, strict=True)
        )
        room = sum(node.room(cpus, gpus) for node in free)
        found[number] = size if size is not None else room // max(1, open_ones)
        if found[number] < 1 or room < found[number]:
            if len(models) > 1:
                return []
            raise UsageError(_no_room(models[number], found[number] or 1, cpus, gpus, there))
        free = _taken(free, found[number], cpus, gpus)
    return [
        Crew(size, cpus, gpus, _tokenizers(options, size, gpus))
        for size, (_, cpus, gpus) in zip(found, sizes, strict=True)
    ]


def _tokenizers(options: RayOptions, size: int, gpus: float) -> int:
    if options.tokenizers is not None:
        return options.tokenizers
    return math.ceil(size / 4) if gpus else 0


def _taken(there: Sequence[Node], size: int, cpus: float, gpus: float) -> list[Node]:
    """What is left of nodes when so many workers are on them."""
    left = []
    for node in there:
        here = min(size, node.room(cpus, gpus))
        size -= here
        left.append(Node(node.id, node.name, node.cpus - here * cpus, node.gpus - here * gpus))
    return left


def _no_room(model: str, size: int, cpus: float, gpus: float, there: Sequence[Node]) -> str:
    has = ", ".join(f"{node.name}: {node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in there)
    room = sum(node.room(cpus, gpus) for node in there)
    return (
        f"run.executor: {size} workers of model {model!r}, each with num_cpus: {cpus:g} and "
        f"num_gpus: {gpus:g}, do not fit into the cluster, which has room for {room} ({has}): "
        "lower concurrency, num_cpus or num_gpus, or add nodes"
    )


def check_names(options: RayOptions, models: Sequence[str]) -> None:
    """Raise UsageError where the options name a model that the recipe has not."""
    for name in options.models:
        if name not in models:
            raise UsageError(
                f"run.executor.models: no model is called {name!r} (models of this recipe: "
                f"{', '.join(models)})"
            )


def check_nodes(run: Travels, options: RayOptions, models: Sequence[str]) -> None:
    """Ask every node on which a worker may be what it lacks for the run. Raises UsageError."""
    there = nodes()
    gpus_there = sum(node.gpus for node in there)
    sizes = [
        (size.num_cpus or 1.0, float(gpus_there > 0) if size.num_gpus is None else size.num_gpus)
        for size in map(options.of, models)
    ]
    asked = [node for node in there if any(node.room(*size) for size in sizes)]
    answers = {node.name: _asked(node, pickle.dumps(run)) for node in asked}
    _refuse({node.name: _answer(node, pickle.dumps(run), answers[node.name]) for node in asked})


def _asked(node: Node, run: bytes) -> Any:
    """A reference to what the node lacks."""
    where = NodeAffinitySchedulingStrategy(node.id, soft=False)
    look = ray.remote(_look()).options(num_cpus=0, max_retries=0, scheduling_strategy=where)
    return look.remote(run)


def _answer(node: Node, run: bytes, answer: Any) -> Sequence[str]:
    """What the node lacks. A node that joins or leaves just now is unknown to some of Ray's parts:
    it is asked again, as long as it is there.
    """
    until = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            found: Sequence[str] = ray.get(answer, timeout=LOOK_SECONDS)
            return found
        except ray.exceptions.TaskUnschedulableError as error:
            if node.id not in {one.id for one in nodes()}:
                return ()
            if time.monotonic() > until:
                return [f"takes no task: {error}"]
            time.sleep(1)
            answer = _asked(node, run)
        except ray.exceptions.RayError as error:
            return [f"does not answer: {type(error).__name__}: {error}"]


def _look() -> Any:
    """A function that travels by its own text: the node may lack this very package."""

    def look(run: bytes) -> list[str]:
        import pickle

        try:
            return list(pickle.loads(run).problems())
        except (ImportError, AttributeError) as error:
            return [
                f"{error}: install there what is installed here (qaqfilter with the same extras "
                "and plugins, of the same versions)"
            ]

    return look


def _refuse(lacking: Mapping[str, Sequence[str]]) -> None:
    lines = [f"  node {name}: {text}" for name, texts in lacking.items() for text in texts]
    if lines:
        raise UsageError(
            "the run cannot go to this cluster:\n" + "\n".join(lines) + "\neach node needs the "
            "same qaqfilter, plugins and files, models at the same paths, as on a shared disk"
        )
