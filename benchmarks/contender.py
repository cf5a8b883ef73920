"""One way to compute likelihoods, as the benchmarks see it; and how much memory it may want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.workload import Sums, Workload
from qaqfilter import LIKELIHOODS

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Contender:
    """`score` gives the sums of a workload; `memory` the bytes that it takes above the model.

    `likelihoods` are those that it can compute from the same token ids as everybody.
    """

    name: str
    score: Callable[[Workload], Sums]
    memory: Callable[[Workload], int]
    likelihoods: tuple[str, ...] = LIKELIHOODS


def full_logits(model: Any, *, rows: int, copies: int) -> Callable[[Workload], int]:
    """Bytes of `copies` of float32 logits [rows, longest request, vocabulary], and some room."""
    vocabulary = int(model.config.get_text_config().vocab_size)

    def estimate(workload: Workload) -> int:
        requests = len(workload.records) * len(workload.likelihoods)
        return 4 * copies * min(rows, requests) * workload.longest * vocabulary + GIB // 2

    return estimate


def free_memory() -> int:
    """Bytes that can be had now without swapping."""
    psutil: Any = import_module("psutil")  # accelerate brings it

    return int(psutil.virtual_memory().available)


def too_large(contender: Contender, workload: Workload) -> str | None:
    """Why a contender must not run here, or None: a machine that swaps measures nothing."""
    wanted, free = contender.memory(workload), free_memory()
    if wanted <= 0.9 * free:
        return None
    return f"would take about {wanted / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free"
