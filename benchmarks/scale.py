"""Tens of millions of records on Ray, through a model that costs nothing: time, memory, store.

    python -m benchmarks.scale [--records 20000000] [--executor local]

What is left is what a run costs beside its models: reading, planning, the store, what goes between
processes, ranking, writing. The driver is the process that reads first, ranks and writes; its peak
of memory is its own, without the workers. Records are short, so that text is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NULL = Path(__file__).with_name("null.py")
RECIPE = """
version: 1
name: scale
input: {use: jsonl, path: in/*.jsonl}
models: {model: {use: zeros, noise: model, every: 1}}
steps:
  - {id: rmi, use: rmi, model: model, keep: {rank: [0.25, 0.75]}}
output: {use: jsonl, path: out, pages: [], card: false}
run: {store: store, window: 2048, executor: %s}
"""
A_FILE = 250_000


def write_records(folder: Path, records: int) -> None:
    """Queries and answers of seven bytes, no two alike, in files of 250,000."""
    folder.mkdir()
    for first in range(0, records, A_FILE):
        with (folder / f"{first // A_FILE:05}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                f'{{"query": "{number * 7919 % records:07x}", "answer": "{number:07x}"}}\n'
                for number in range(first, min(first + A_FILE, records))
            )


def main() -> None:
    """One run, and what it took."""
    parser = argparse.ArgumentParser(description="Tens of millions of records, on Ray.")
    parser.add_argument("--records", type=int, default=20_000_000, help="records (20000000)")
    parser.add_argument("--executor", default="ray", help="local or ray (ray)")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one is made")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child)
        return
    with tempfile.TemporaryDirectory(prefix="qaqfilter-scale-", dir=chosen.folder) as name:
        folder = Path(name)
        began = time.monotonic()
        write_records(folder / "in", chosen.records)
        print(f"{chosen.records} records made in {time.monotonic() - began:.0f} s", flush=True)
        (folder / "recipe.yaml").write_text(RECIPE % chosen.executor, encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.scale", "--child", str(folder)]
        subprocess.run(command, check=True)
        report(folder, chosen.records)


def child(folder: Path) -> None:
    """The driver: prints how long each stretch took, and its own peak of memory."""
    from qaqfilter.engine import run_recipe
    from qaqfilter.manager import load_plugins
    from qaqfilter.recipe import load_recipe

    watch = Stretches()
    manager = load_plugins((NULL,))
    began = time.monotonic()
    run_recipe(load_recipe(folder / "recipe.yaml", manager), manager, watch, replace=True)
    watch.seconds["all"] = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = {"seconds": watch.seconds, "peak": peak}
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


class Stretches:
    """An observer that times what a run says it does."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._now: tuple[str, float] | None = None

    def started(self, label: str, records: int | None) -> None:
        """A stretch of work begins."""
        self._now = label, time.monotonic()

    def advanced(self, records: int, tokens: int) -> None:
        """Nothing is counted."""

    def finished(self) -> None:
        """It is over."""
        if self._now is not None:
            label, began = self._now
            self.seconds[label] = self.seconds.get(label, 0) + time.monotonic() - began
            self._now = None

    def message(self, text: str) -> None:
        """What the run has to say."""
        print(text, flush=True)


def report(folder: Path, records: int) -> None:
    """Seconds, records a second and their share of the whole; memory; bytes on disk."""
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    whole = found["seconds"]["all"]
    for label, seconds in found["seconds"].items():
        share = seconds / whole
        print(f"{label:20} {seconds:9.1f} s {records / seconds:9.0f} records/s {share:6.0%}")
    print(
        f"driver: peak {found['peak'] / 1e6:.0f} MB, {found['peak'] / records:.0f} bytes a record"
    )
    for name in ("in", "store", "out"):
        size = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
        files = sum(1 for file in (folder / name).rglob("*") if file.is_file())
        print(f"{name}: {size / 1e6:.0f} MB in {files} files, {size / records:.1f} bytes a record")
    left = shutil.disk_usage(folder).free
    print(f"disk: {left / 1e9:.0f} GB left")


if __name__ == "__main__":
    main()
