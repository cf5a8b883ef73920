"""Records a second on Ray with one worker and with two, beside the local executor.

    python -m benchmarks.workers [--records 48] [--model pypi:gemma3-270m]

One thread a worker, real pairs of the standard library, no score store. The peer is the local
executor with one thread. Seconds are those of scoring, from loading the model to the last number;
what Ray takes to start a cluster, before a run reads anything, stands apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

RECIPE = """
version: 1
name: workers
input: {use: docstrings, limit: %d, max_query: 200, min_answer: 80, max_answer: 400}
models: {model: {use: llamacpp, model: "%s", threads: 1}}
steps:
  - {id: rmi, use: rmi}
output: {use: jsonl, path: out, pages: [], card: false}
run: {store: false, window: 4}
"""


class Took(NamedTuple):
    """Seconds of scoring and of the command, and the tokens that were computed."""

    scoring: float
    whole: float
    tokens: int


def main() -> None:
    """A line for each executor."""
    parser = argparse.ArgumentParser(description="One worker on Ray, two, and none.")
    parser.add_argument("--records", type=int, default=48, help="records (48)")
    parser.add_argument("--model", default="pypi:gemma3-270m", help="a model of llama.cpp")
    chosen = parser.parse_args()
    cases = {
        "local": '"local"',
        "ray, 1 worker": '{"use": "ray", "concurrency": 1}',
        "ray, 2 workers": '{"use": "ray", "concurrency": 2}',
    }
    with tempfile.TemporaryDirectory(prefix="qaqfilter-workers-") as name:
        recipe = Path(name) / "recipe.yaml"
        recipe.write_text(RECIPE % (chosen.records, chosen.model), encoding="utf-8")
        found = {case: run(recipe, executor) for case, executor in cases.items()}
    first = found["local"]
    print(f"{'':16} {'records/s':>10} {'to local':>9} {'besides scoring, s':>19}")
    for case, took in found.items():
        ratio = first.scoring / took.scoring
        besides = took.whole - took.scoring
        print(f"{case:16} {chosen.records / took.scoring:10.2f} {ratio:9.2f} {besides:19.1f}")
    one, two = found["ray, 1 worker"], found["ray, 2 workers"]
    print(f"2 workers to 1: {one.scoring / two.scoring:.2f}, {first.tokens} tokens each")


def run(recipe: Path, executor: str) -> Took:
    """One command, by its manifest and the clock."""
    began = time.monotonic()
    command = ["-m", "qaqfilter", "run", recipe, "--replace", "--set"]
    subprocess.run(
        [sys.executable, *map(str, command), f"run.executor={executor}"],
        check=True,
        capture_output=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    whole = time.monotonic() - began
    manifest = json.loads((recipe.parent / "out" / "manifest.json").read_text(encoding="utf-8"))
    (model,) = manifest["models"]
    return Took(model["seconds"], whole, model["cost"]["computed"])


if __name__ == "__main__":
    main()
