"""Each peer runs at its best batch size, found by a short trial: no straw men."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console

from benchmarks.contender import Contender, too_large
from benchmarks.workload import Workload

SIZES = (1, 2, 4, 8)


def best_batch(
    make: Callable[[int], Contender],
    workload: Workload,
    trial: Workload,
    console: Console,
    sizes: Sequence[int] = SIZES,
) -> Contender:
    """The fastest on `trial`, of the sizes whose memory `workload` allows. Prints the trial."""
    times: dict[int, float] = {}
    contenders = {rows: make(rows) for rows in sizes}
    for rows, contender in contenders.items():
        if reason := too_large(contender, workload):
            console.print(f"{contender.name}: {reason}")
            continue
        contender.score(trial.shortest())
        began = time.perf_counter()
        contender.score(trial)
        times[rows] = time.perf_counter() - began
        console.print(f"{contender.name}: {times[rows]:.2f} s for {len(trial.records)} records")
    if not times:
        raise SystemExit("no batch size fits into memory; allow fewer tokens")
    best = min(times, key=times.__getitem__)
    console.print(f"{contenders[best].name} is the fastest")
    return contenders[best]
