"""A million records through two models that cost nothing: time and memory, with and without store.

    python -m benchmarks.million

Records of about 300 bytes go through `disagreement` with strata: without a store, with one, again
when all is in it, and another threshold with `select`. Each is a process of its own,
so that its peak memory is its own, and is done for the given number of records and for a tenth of
it: the difference tells what a record takes. Making the records, the interpreter's start, imports
and plugins are not in the times; everything from reading the recipe to the manifest is.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.engine import WORDS
from benchmarks.null import NullPlugin
from qaqfilter.engine import run_recipe
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.progress import Silent
from qaqfilter.recipe import Recipe, load_recipe
from qaqfilter.selecting import Selection, select_recipe

RECIPE = """
version: 1
name: million
input: {use: jsonl, path: records.jsonl}
models: {strong: {use: zeros, noise: strong}, weak: {use: zeros, noise: weak}}
steps:
  - {id: qaq, use: disagreement, strong: strong, weak: weak, keep: {fraction: 0.5},
     strata: {by: weak_rank, bins: 10}}
output: {use: jsonl, path: out}
run: {store: store}
"""
STATE_OFF, STATE_ON = 100.0, 130.0
"""Goals: bytes of state a record, without a store and with one."""
TEXTS = 1000
"""Different texts that are made; each record begins with its number, so none is the same."""


class Found(NamedTuple):
    """What a process took: wall seconds, those of writing text, and its peak of memory in bytes."""

    seconds: float
    text: float
    peak: int


class Watch(Silent):
    """An observer that times the writing of records."""

    def __init__(self) -> None:
        self.text = 0.0
        self._began: float | None = None

    def started(self, label: str, records: int | None) -> None:
        """A stretch of work begins."""
        self._began = time.perf_counter() if label.startswith("writing the records") else None

    def finished(self) -> None:
        """It is over."""
        if self._began is not None:
            self.text += time.perf_counter() - self._began


def write_records(folder: Path, records: int) -> None:
    """Queries of about 60 characters, answers of about 200, no two alike."""
    draw = random.Random(0)
    texts = [
        f'{" ".join(draw.choices(WORDS, k=12))}", "answer": "{" ".join(draw.choices(WORDS, k=40))}'
        for _ in range(TEXTS)
    ]
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(
            f'{{"query": "{number:07} {texts[number % TEXTS]} {number}"}}\n'
            for number in range(records)
        )


def run(recipe: Recipe, manager: PluginManager, watch: Watch) -> None:
    """`qaqfilter run`."""
    run_recipe(recipe, manager, watch, replace=True)


def select(recipe: Recipe, manager: PluginManager, watch: Watch) -> None:
    """`qaqfilter select`, by the numbers of the run before."""
    select_recipe(recipe, manager, watch, Selection(), replace=True)


class Case(NamedTuple):
    """What is done, and with which changes to the recipe."""

    work: Callable[[Recipe, PluginManager, Watch], None]
    overrides: tuple[str, ...] = ()


CASES: Mapping[str, Case] = {
    "store off": Case(run, ("run.store=false",)),
    "store on": Case(run),
    "all known": Case(run),
    "select": Case(select, ("steps.0.keep.fraction=0.25",)),
}
"""What is timed, in this order, in one folder: a later one finds what an earlier one left."""


def measure(folder: Path, case: str) -> Found:
    """One case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.million", "--child", case, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Found(*json.loads(done.stdout))


def child(case: str, folder: Path) -> None:
    """In that process: prints what it took."""
    manager = load_plugins()
    manager.register(NullPlugin, "zeros", "benchmarks")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    work, overrides = CASES[case]
    watch, began = Watch(), time.perf_counter()
    work(load_recipe(folder / "recipe.yaml", manager, overrides), manager, watch)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([seconds, watch.text, peak if sys.platform == "darwin" else peak * 1024]))


def measured(base: Path, records: int) -> dict[str, Found]:
    """Every case over so many records."""
    folder = base / str(records)
    folder.mkdir()
    began = time.perf_counter()
    write_records(folder, records)
    print(f"{records} records made in {time.perf_counter() - began:.1f} s", flush=True)
    found: dict[str, Found] = {}
    for case in CASES:
        found[case] = measure(folder, case)
        seconds, text, peak = found[case]
        aside = f" ({seconds - text:.1f} s without writing the text)" if text else ""
        print(f"{records} records, {case}: {seconds:.1f} s{aside}, {peak / 1e6:.1f} MB", flush=True)
    shutil.rmtree(folder)
    return found


def main() -> None:
    """Both sizes, and the table."""
    parser = argparse.ArgumentParser(description="A million records, with and without a store.")
    parser.add_argument("--records", type=int, default=1_000_000, help="records (1000000)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child[0], Path(chosen.child[1]))
        return
    many, few = chosen.records, max(1, chosen.records // 10)
    with tempfile.TemporaryDirectory(prefix="qaqfilter-million-") as name:
        small, large = measured(Path(name), few), measured(Path(name), many)
    heads = ("records", "seconds", "no text", "records/s", "to the first", "to a tenth", "peak MB")
    print(f"\n{'':10}" + "".join(f" {head:>12}" for head in (*heads, "bytes each")))
    for case in CASES:
        for records, found in ((few, small), (many, large)):
            rate, tenth = records / found[case].seconds, few / small[case].seconds
            first = found[case].seconds / next(iter(found.values())).seconds
            state = (large[case].peak - small[case].peak) / (many - few)
            last = f"{state:12.0f}" if records == many else ""
            print(
                f"{case:10} {records:12} {found[case].seconds:12.1f}"
                f" {found[case].seconds - found[case].text:12.1f} {rate:12.0f} {first:12.2f}"
                f" {rate / tenth:12.2f} {found[case].peak / 1e6:12.1f} {last}"
            )
    print(
        "no text: seconds without the last read and the writing of records, where that is a stage "
        "of its own (select);\nto the first: seconds over those of the first case; to a tenth: "
        "records/s over those of a tenth of the records;\nbytes each: growth of the peak by the "
        f"records more, goal: about {STATE_OFF:g} without a store, {STATE_ON:g} with one"
    )


if __name__ == "__main__":
    main()
