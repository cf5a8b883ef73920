"""What scoring a window took: records done, seconds, and tokens by what became of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from qaqfilter.costs import Cost, Work
from qaqfilter.planning import Plan
from qaqfilter.protocols import Backend, CountsWork
from qaqfilter.types import Ints


class Clock:
    """Adds up the wall time of its `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.seconds -= time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()


def records_done(
    plan: Plan, batches: Sequence[Sequence[int]], record: Ints, records: int
) -> list[int]:
    """How many records have all their numbers before the first batch, after it, and so on."""
    batch_of = np.zeros(len(plan.sequences), dtype=np.int64)
    for number, batch in enumerate(batches):
        batch_of[list(batch)] = number + 1
    last = np.zeros(records, dtype=np.int64)
    hosts = np.array([sequence for sequence, _ in plan.routes], dtype=np.int64)
    np.maximum.at(last, record, batch_of[hosts])
    found: list[int] = np.bincount(last, minlength=len(batches) + 1).tolist()
    return found


def work_of(backend: Backend) -> Work | None:
    return backend.work if isinstance(backend, CountsWork) else None


def cost_of(
    plan: Plan, stored: int, before: Work | None, after: Work | None, seconds: float
) -> Cost:
    if before is None or after is None:
        computed = plan.tokens - stored
        return Cost(plan.asked, plan.tokens, computed, stored, seconds=seconds)
    computed, reused, padding = (now - then for now, then in zip(after, before, strict=True))
    return Cost(plan.asked, plan.tokens, computed, stored, reused, padding, seconds)
