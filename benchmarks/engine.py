"""What the engine costs a record, next to a model that costs nothing.

    python -m benchmarks.engine

A recipe with two likelihoods a record and a keep rule (`rmi`, the better half) runs over JSON
lines with a backend that answers zeros at once. What the run costs is then reading, planning,
deciding and writing. Tokenising is taken off: it is the model's, and timed where it is called.

Time is CPU time of the whole process, threads included, on one core where the system can pin to
one; wall time is told beside it. Warmed up, and so not in the figures: the interpreter, imports,
the plugins, and one whole run. Part of every run: reading the recipe, the manifest, the files on
disk. Memory is the growth of a child process's peak between two sizes of input.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson

from benchmarks.null import Null, NullPlugin
from benchmarks.stages import Phases
from qaqfilter.engine import run_recipe
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.recipe import load_recipe

SIZES = (500, 2_000, 20_000)
MEMORY_SIZES = (20_000, 100_000)
GOAL = 100.0
"""Microseconds a record, and bytes of state a record with two models."""

RECIPE = """
version: 1
name: engine
input: {{use: jsonl, path: "{records}.jsonl"}}
models: {{one: {{use: zeros}}, two: {{use: zeros}}}}
steps:
{steps}
output: {{use: jsonl, path: "out-{records}"}}
run: {{store: false}}
"""
ONE_MODEL = "  - {id: rmi, use: rmi, model: one, keep: {fraction: 0.5}}"
TWO_MODELS = "  - {id: qaq, use: disagreement, strong: one, weak: two, keep: {fraction: 0.5}}"
WORDS = (
    "value",
    "list",
    "function",
    "number",
    "the",
    "of",
    "a",
    "sorted",
    "which",
    "returns",
    "in",
)
NAMES = ("naïve", "größer", "café")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds without encoding, those of encoding, and wall seconds, of one run."""

    engine: float
    encoding: float
    wall: float


def write_records(folder: Path, records: int) -> None:
    """Queries of about 200 characters, answers of about 800; a tenth is not ASCII."""
    draw = random.Random(records)
    path = folder / f"{records}.jsonl"
    if path.exists():
        return
    with path.open("wb") as file:
        for number in range(records):
            words = [*WORDS, *(NAMES if number % 10 == 0 else ())]
            query = " ".join(draw.choices(words, k=draw.randint(20, 60)))
            lines = (" ".join(draw.choices(words, k=8)) for _ in range(draw.randint(10, 24)))
            row = {"query": query, "answer": "\n".join(lines)}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def run(
    manager: PluginManager, folder: Path, records: int, phases: Phases, steps: str = ONE_MODEL
) -> Cost:
    """One run from recipe to files."""
    recipe = folder / f"{records}.yaml"
    recipe.write_text(RECIPE.format(records=records, steps=steps), encoding="utf-8")
    Null.encoding_seconds = 0.0
    wall, began = time.perf_counter(), time.process_time()
    with phases:
        run_recipe(load_recipe(recipe, manager, ()), manager, phases, replace=True)
    spent = time.process_time() - began
    return Cost(spent - Null.encoding_seconds, Null.encoding_seconds, time.perf_counter() - wall)


def speed(manager: PluginManager, folder: Path, rounds: int) -> None:
    """The table of sizes, each round all of them in turn."""
    costs: dict[int, list[Cost]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size, found in costs.items():
            # Small runs are repeated, so that a round gives each size a fair hearing.
            repeats = [run(manager, folder, size, Phases()) for _ in range(max(1, 2_000 // size))]
            found.extend(repeats)
    print(f"\n{'records':>8} {'µs a record':>12} {'least':>6} {'encoding':>9} {'records/s':>10}"
          f" {'wall µs':>8}")  # fmt: skip
    rates = {}
    for size, found in costs.items():
        engine = median(cost.engine for cost in found) / size * 1e6
        least = min(cost.engine for cost in found) / size * 1e6
        encoding = median(cost.encoding for cost in found) / size * 1e6
        wall = median(cost.wall for cost in found) / size * 1e6
        rates[size] = 1e6 / engine
        print(
            f"{size:8} {engine:12.1f} {least:6.1f} {encoding:9.1f} {rates[size]:10.0f} {wall:8.1f}"
        )
    print(f"goal: at most {GOAL:g} µs a record, encoding not counted")
    first, last = SIZES[0], SIZES[-1]
    print(
        f"records/s at {last} over those at {first}: {rates[last] / rates[first]:.2f} "
        "(goal: at least 0.95)"
    )


def stages(manager: PluginManager, folder: Path, rounds: int) -> None:
    """Where the time of the largest runs goes; two tables in one."""
    size = SIZES[-1]
    phases = Phases(look=True)
    for _ in range(rounds):
        run(manager, folder, size, phases)
    spent, looks = sum(phases.seconds.values()), sum(phases.looks.values())
    print(f"\nCPU time by stage, {size} records, encoding included ({looks} looks at the stack)")
    print(f"{'phase':10} {'stage':20} {'µs a record':>12} {'share':>7}")
    order = list(phases.seconds)
    for phase in order:
        own = [(count, stage) for (of, stage), count in phases.looks.items() if of == phase]
        cost = phases.seconds[phase]
        whole = cost / rounds / size * 1e6
        print(f"{phase:10} {'':20} {whole:12.1f} {cost / spent:7.1%}")
        for count, stage in sorted(own, reverse=True):
            share = count / sum(c for c, _ in own)
            print(f"{'':10} {stage:20} {share * whole:12.1f} {share * cost / spent:7.1%}")


def memory(folder: Path, sizes: tuple[int, int]) -> None:
    """Peak memory of a process that runs one size, for two sizes and for one and two models."""
    print(f"\npeak memory of a run of {sizes[0]} and of {sizes[1]} records")
    for models in (1, 2):
        peaks = [_peak(folder, size, models) for size in sizes]
        growth = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
        sums = " and ".join(f"{peak / 1e6:.1f}" for peak in peaks)
        print(f"{models} model{'s' * (models > 1)}: {sums} MB, {growth:.0f} bytes a record")
    print(f"goal: at most about {GOAL:g} bytes a record with two models")


def _peak(folder: Path, records: int, models: int) -> int:
    write_records(folder, records)
    command = [sys.executable, "-m", "benchmarks.engine", "--child", str(records), str(models)]
    done = subprocess.run([*command, str(folder)], check=True, capture_output=True, text=True)
    return int(done.stdout)


def child(records: int, models: int, folder: Path) -> None:
    """One run in this process; prints its peak memory in bytes."""
    import resource

    run(_manager(), folder, records, Phases(), ONE_MODEL if models == 1 else TWO_MODELS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak if sys.platform == "darwin" else peak * 1024)


def _manager() -> PluginManager:
    manager = load_plugins()
    manager.register(NullPlugin, "zeros", "benchmarks")
    return manager


def main() -> None:
    """Everything, or what the options leave of it."""
    parser = argparse.ArgumentParser(description="What the engine costs a record.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all sizes (5)")
    parser.add_argument(
        "--records", type=int, default=MEMORY_SIZES[1], help="largest run for memory (100000)"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out memory")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(int(chosen.child[0]), int(chosen.child[1]), Path(chosen.child[2]))
        return
    if hasattr(os, "sched_setaffinity"):
        core = max(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {core})
        print(f"pinned to core {core} of {os.cpu_count()}", end="; ")
    print("warmed up: imports, plugins and one run")
    with tempfile.TemporaryDirectory(prefix="qaqfilter-benchmark-") as name:
        folder = Path(name)
        for size in SIZES:
            write_records(folder, size)
        manager = _manager()
        run(manager, folder, SIZES[0], Phases())
        speed(manager, folder, chosen.rounds)
        stages(manager, folder, chosen.rounds)
        if not chosen.no_memory:
            memory(folder, (MEMORY_SIZES[0], chosen.records))


if __name__ == "__main__":
    main()
