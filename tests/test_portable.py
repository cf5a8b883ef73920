"""A stage and its windows do elsewhere what they do here: in other processes, to the last byte."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qaqfilter import SourceError, UsageError, portable
from qaqfilter.in_memory import InMemory, recipe_of
from qaqfilter.manager import load_plugins
from qaqfilter.portable import SharedWindows, packed, unpacked
from qaqfilter.recipe import load_recipe
from qaqfilter.spooling import Spools
from qaqfilter.stream import RecordStream

SIZES = (5, 1, 7, 2, 20)
"""Records of the files: windows begin in some of them, and go through others."""

PROCESSES = """
import pickle, subprocess, sys
from qaqfilter import Component, Options, hookimpl

WORKER = '''
import pickle, sys
stage, shared, part = pickle.load(sys.stdin.buffer)
with stage.open() as score:
    for answer in score(shared.windows(part)):
        pickle.dump(answer, sys.stdout.buffer)
'''

class Processes:
    def score(self, stage, windows):
        divided = windows.divided()
        for one in reversed(divided.ranges):
            work = pickle.dumps((stage, divided.shared, one))
            done = subprocess.run(
                [sys.executable, "-c", WORKER], input=work, stdout=subprocess.PIPE, check=True
            ).stdout
            while done:
                answer = pickle.loads(done)
                done = done[len(pickle.dumps(answer)):]
                stage.progress(len(answer.rows), answer.cost.planned)
                yield answer

@hookimpl
def qaqfilter_executors():
    yield Component("processes", Options, lambda config: Processes(), "a process for each range")
"""
SELECTOR = """
from qaqfilter import Component, Need, Options, hookimpl

class Surprise:
    columns = ("surprise",)
    needs = (Need("toy", "answer_given_query"),)
    def __init__(self, config): pass
    def score(self, table):
        return {"surprise": table.nll("toy", "answer_given_query")}

@hookimpl
def qaqfilter_selectors():
    yield Component("surprise", Options, Surprise, "of a file")
"""
RECIPE = """
version: 1
name: shared
input: {use: %s, path: "%s", max_errors: 1}
models: {toy: {use: ngram}}
steps:
  - {id: coherent, use: rmi, keep: {fraction: 0.7}}
output: {use: jsonl, path: out}
run: {window: 4, store: store}
"""


def rows() -> list[list[dict[str, str]]]:
    numbers = iter(range(sum(SIZES)))
    return [
        [{"query": f"count to {n}", "answer": "one " * n} for n in islice(numbers, size)]
        for size in SIZES
    ]


def write(folder: Path, kind: str) -> str:
    """The input as files of a kind; the pattern that matches them."""
    for number, part in enumerate(rows()):
        lines = "".join(json.dumps(row) + "\n" for row in part)
        if kind == "jsonl":
            (folder / f"{number}.jsonl").write_text(("no json\n" if number == 2 else "") + lines)
        elif kind == "jsonl.gz":
            (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        elif kind == "json":
            (folder / f"{number}.json").write_text(json.dumps(part))
        elif kind == "parquet":
            pq.write_table(pa.Table.from_pylist(part), folder / f"{number}.parquet")
        else:
            text = "".join(f"{row['query']},{row['answer']}\n" for row in part)
            (folder / f"{number}.csv").write_text("query,answer\n" + text)
    return f"*.{kind}"


@pytest.fixture
def shared(tmp_path: Path):
    """The windows of some rows of an input of some kind."""

    def make(kind: str, wanted=None, size: int = 4, limit: int | None = None) -> SharedWindows:
        pattern = write(tmp_path, kind)
        path = tmp_path / "recipe.yaml"
        path.write_text(RECIPE % (kind.removesuffix(".gz"), pattern))
        manager = load_plugins()
        recipe = load_recipe(path, manager)
        source = recipe.source.make()
        stream = RecordStream(source, recipe.input, limit, plugin=recipe.source.plugin)
        assert isinstance(source, Spools)
        stream.survey(lambda item: None, lambda records, tokens: None)
        chosen = np.arange(stream.records) if wanted is None else np.array(wanted, dtype=np.int64)
        return SharedWindows(stream, chosen, size, partial(packed, recipe, manager, stream))

    return make


def same(windows: SharedWindows) -> int:
    """Whether the ranges, travelled, come to the windows read here; how many ranges there are."""
    divided = pickle.loads(pickle.dumps(windows.divided()))
    ranges = divided.ranges
    there = [window for one in ranges for window in divided.shared.windows(one)]
    assert len(there) == divided.windows
    here = list(windows)
    assert [window.index for window in there] == [window.index for window in here]
    for one, two in zip(here, there, strict=True):
        assert one.rows.tolist() == two.rows.tolist()
        assert one.records == two.records
    return len(ranges)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "parquet", "csv"])
def test_ranges_are_the_windows(shared, kind) -> None:
    # Windows of 4 begin at 0 and 4 in the first file, at 8 and 12 in the third, then in the last.
    assert same(shared(kind)) == (1 if kind == "csv" else 3)


@pytest.mark.parametrize("size", [1, 3, 5, 6, 40])
@pytest.mark.parametrize("wanted", [[], [0], [34], [4, 5, 6, 12, 13], list(range(1, 35, 2))])
def test_whatever_is_wanted(shared, wanted, size) -> None:
    assert same(shared("jsonl", wanted, size)) <= len(SIZES)


@pytest.mark.parametrize("limit", [1, 5, 6, 7, 14, 33])
def test_whatever_the_limit(shared, limit) -> None:
    windows = shared("jsonl", size=3, limit=limit)
    assert windows.stream.records + windows.stream.bad == limit
    same(windows)


def test_a_part_is_read_once_for_its_windows(shared, monkeypatch) -> None:
    windows = shared("jsonl")
    shared_, ranges, _ = windows.divided()
    source = unpacked(shared_).stream.source
    read, asked = source.read_part, []
    monkeypatch.setattr(source, "read_part", lambda part: asked.append(part) or read(part))
    for one in ranges:
        list(shared_.windows(one))
    # The third file is read on from by the window that begins in the first; so is the last.
    assert asked == ["0.jsonl", "1.jsonl", "2.jsonl", "2.jsonl", "3.jsonl", "4.jsonl", "4.jsonl"]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_changed_is_named(shared, tmp_path, kind, number) -> None:
    windows = shared(kind)
    shared_, ranges, _ = windows.divided()
    path = tmp_path / f"{number}.{kind}"
    path.write_text(path.read_text().replace("count to", "count up to"))
    with pytest.raises(SourceError, match=rf"{number}\.{kind}: the input changed"):
        for one in ranges:
            list(shared_.windows(one))


def test_what_was_moved_is_named(shared, tmp_path) -> None:
    shared_, ranges, _ = shared("jsonl").divided()
    (tmp_path / "4.jsonl").unlink()
    with pytest.raises(SourceError, match=r"4\.jsonl is not among the 4 files"):
        for one in ranges:
            list(shared_.windows(one))


def run(folder: Path, *arguments: str, stdin: bytes | None = None) -> None:
    command = [sys.executable, "-c", "from qaqfilter.cli import main; main()", "run", *arguments]
    done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def outputs(folder: Path) -> dict[str, bytes]:
    names = ("kept.jsonl", "rejected.jsonl", "quarantine.jsonl", "scores.parquet")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "stdin"])
def test_a_run_in_many_processes_is_the_run_in_one(tmp_path, kind) -> None:
    """Plugins of files travel too; what is fitted on the input is fitted on the same."""
    pattern = write(tmp_path, "csv" if kind == "csv" else "jsonl")
    use, path = ("csv", pattern) if kind == "csv" else ("jsonl", pattern)
    text = (tmp_path / "4.jsonl").read_bytes() if kind == "stdin" else None
    recipe = RECIPE % (use, "-" if kind == "stdin" else path)
    recipe = recipe.replace(
        "keep: {fraction: 0.7}}",
        "keep: {fraction: 0.7}}\n  - {id: mine, use: surprise, keep: {fraction: 0.9}}",
    )
    (tmp_path / "recipe.yaml").write_text(recipe)
    (tmp_path / "processes.py").write_text(PROCESSES)
    (tmp_path / "surprise.py").write_text(SELECTOR)
    plugins = ("--plugin", "processes.py", "--plugin", "surprise.py")
    run(tmp_path, "recipe.yaml", *plugins, stdin=text)
    there = ("--set", "run.executor=processes", "--set", "output.path=there")
    run(tmp_path, "recipe.yaml", *plugins, *there, "--set", "run.store=other", stdin=text)
    assert outputs(tmp_path / "there") == outputs(tmp_path / "out")
    if kind != "jsonl":
        return
    # Scored there, and stored there: the same command again asks no model.
    run(
        tmp_path,
        "recipe.yaml",
        *plugins,
        *there,
        "--set",
        "run.store=other",
        "--replace",
        stdin=text,
    )
    manifest = json.loads((tmp_path / "there" / "manifest.json").read_text())
    assert all(model["cost"]["computed"] == 0 for model in manifest["models"])


def test_records_in_memory_stay_here() -> None:
    manager = load_plugins()
    rows = InMemory(lambda: iter([{"query": "q", "answer": "a"}]))
    blocks = {
        "input": {"use": "records"},
        "models": {"toy": {"use": "ngram"}},
        "steps": [{"id": "coherent", "use": "rmi", "keep": {"top": 1}}],
    }
    recipe = recipe_of(manager, rows, "score", blocks)
    stream = RecordStream(recipe.source.make(), recipe.input)
    with pytest.raises(UsageError, match="records in memory cannot be handed to other processes"):
        packed(recipe, manager, stream)


def test_a_worker_without_the_plugin_says_so(tmp_path, shared) -> None:
    """What is installed here is not installed there."""
    package, (one, *_), _ = shared("jsonl").divided()
    work = pickle.dumps((package, one))
    code = (
        "import pickle, sys; package, one = pickle.load(sys.stdin.buffer);"
        "print(len(list(package.windows(one))))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=work, capture_output=True, check=True)
    assert done.stdout.split() == [b"2"]
    done = subprocess.run(
        command,
        input=work,
        capture_output=True,
        check=False,
        env={**os.environ, "QAQFILTER_BLOCK_PLUGINS": "jsonl"},
    )
    assert b"no source is called 'jsonl'" in done.stderr


def test_what_a_machine_lacks_is_told_without_reading(tmp_path, monkeypatch) -> None:
    """Asked where the worker will be: here a model at a hub that nobody reaches."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    path = tmp_path / "recipe.yaml"
    text = RECIPE % ("jsonl", "nothing-here.jsonl")
    path.write_text(text.replace("{use: ngram}", '{use: reference, model: "hf:no/body"}'))
    manager = load_plugins()
    package = pickle.loads(pickle.dumps(packed(load_recipe(path, manager), manager)))
    assert package.models == ["toy"]
    (problem,) = package.problems()
    assert problem.startswith("models.toy.model: ") and "no/body" in problem


def test_a_file_of_the_recipe_that_is_not_there_is_told(tmp_path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("some words to fit on")
    path = tmp_path / "recipe.yaml"
    text = RECIPE % ("jsonl", "nothing-here.jsonl")
    path.write_text(text.replace("{use: ngram}", "{use: ngram, fit: [corpus.txt]}"))
    manager = load_plugins()
    package = packed(load_recipe(path, manager), manager)
    assert package.problems() == []
    corpus.unlink()
    elsewhere = pickle.loads(pickle.dumps(package))
    portable._LATEST.clear()
    (problem,) = elsewhere.problems()
    assert "models.toy.fit.0: no such file" in problem and "corpus.txt" in problem
