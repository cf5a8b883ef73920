"""A run that is started in a process of its own, to be killed, and the folder that it works in."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

PLUGIN = Path(__file__).with_name("counting.py")
WORDS = ("value", "list", "the", "of", "sorted", "returns", "number", "a", "größer", "naïve")

RECIPE = """
version: 1
name: crash
input: {{use: jsonl, path: data.jsonl, max_errors: 0.5}}
models:
{models}
steps:
  - {{id: length, use: length, keep: {{min: 40}}}}
  - {{id: rmi, use: rmi, model: strong, keep: {{fraction: 0.8}},
     strata: {{by: nll_query, bins: 4}}}}
  - {{id: qaq, use: disagreement, strong: strong, weak: weak, bins: 4, keep: {{fraction: 0.6}}}}
output: {{use: jsonl, path: out}}
run: {{store: store, window: 32}}
"""
MODELS = {
    "ngram": "  strong: {use: counted_ngram, order: 3, batch_tokens: 2048, pause: %g}\n"
    "  weak: {use: counted_ngram, order: 1, batch_tokens: 2048, pause: 0.01}",
    # The same weights in two number types: two models, and neither is exact.
    "weak": "  strong: {use: counted_transformers, model: 'builtin:weak', device: cpu}\n"
    "  weak: {use: counted_transformers, model: 'builtin:weak', device: cpu, dtype: bfloat16}",
}
PAUSE = 0.12
"""Seconds that the n-gram model sleeps for a batch: enough for a flush while it scores."""


class Moment(NamedTuple):
    """When and how: seconds after the start, or before the first file event of a pattern."""

    after: float = 0.0
    event: str | None = None
    signal: int = signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: None for `killed` where it came to its end before its moment."""

    journal: Path
    began: float
    killed: float | None
    soft: bool
    code: int
    said: str


def write_data(folder: Path, records: int, seed: int = 0) -> None:
    """JSON lines with ids that stand twice, texts that stand twice, and lines that are broken."""
    draw = random.Random(seed)
    rows: list[dict[str, str]] = []
    with (folder / "data.jsonl").open("wb") as file:
        for number in range(records):
            if number % 29 == 7:
                file.write(draw.choice((b'{"query": "cut', b'{"query": 1}\n', b"[]\n", b"\xff\n")))
                file.write(b"\n")
                continue
            row = {
                "id": f"r{number if draw.random() > 0.05 else number // 2}",
                "query": " ".join(draw.choices(WORDS, k=draw.randint(2, 12))),
                "answer": " ".join(draw.choices(WORDS, k=draw.randint(2, 40))),
            }
            if rows and draw.random() < 0.1:
                earlier = draw.choice(rows)
                row |= {key: earlier[key] for key in draw.choice((("query",), ("query", "answer")))}
            rows.append(row)
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def write_recipe(folder: Path, backend: str, pause: float = PAUSE) -> None:
    """A filter, a step with strata, and one with two models; rejects, scores and quarantine."""
    models = MODELS[backend] % pause if backend == "ngram" else MODELS[backend]
    (folder / "recipe.yaml").write_text(RECIPE.format(models=models), encoding="utf-8")


def start_and_kill(folder: Path, moment: Moment | None, *options: str) -> Ended:
    """Start the command in `folder`, kill it at its moment, and wait until it is gone."""
    number = len(list(folder.glob("journal-*")))
    journal, said = folder / f"journal-{number:03}.jsonl", folder / f"said-{number:03}.txt"
    environment = {
        **os.environ,
        "QAQFILTER_JOURNAL": str(journal),
        # Batch sizes that were probed once: of all runs beside each other.
        "QAQFILTER_CACHE": str(folder.parent / "cache"),
    }
    if moment is not None and moment.event is not None:
        environment["QAQFILTER_DIE"] = moment.event
        environment["QAQFILTER_SIGNAL"] = str(int(moment.signal))
    command = [sys.executable, "-m", "qaqfilter", "run", "recipe.yaml", "--plugin", str(PLUGIN)]
    began, sent = time.monotonic(), None
    with said.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options], cwd=folder, env=environment, stdout=file, stderr=file
        )
        try:
            if moment is not None and moment.event is None:
                sent = _send(process, moment, journal)
            process.wait(timeout=600)
        finally:
            process.kill()
            process.wait()
    journal.touch()
    killed = sent or _own(journal)
    if process.returncode == 0:
        killed = None
    soft = moment is not None and moment.signal != signal.SIGKILL
    text = said.read_text(encoding="utf-8", errors="replace")
    return Ended(journal, began, killed, soft, process.returncode, text)


def _own(journal: Path) -> float | None:
    """When the process sent itself its signal, if it did."""
    for line in journal.read_bytes().splitlines():
        entry = orjson.loads(line)
        if "signal" in entry:
            return float(entry["time"])
    return None


def _send(process: subprocess.Popen[bytes], moment: Moment, journal: Path) -> float | None:
    """Wait for the moment and send its signal; when it was sent, None if it came too late."""
    try:
        if moment.signal != signal.SIGKILL:
            # Before the command line is up there is nobody to catch it.
            while not journal.exists() and process.poll() is None:
                time.sleep(0.01)
        process.wait(timeout=moment.after)
    except subprocess.TimeoutExpired:
        process.send_signal(moment.signal)
        return time.monotonic()
    return None
