"""The executor `ray`: the local executor's answer to the byte, whatever dies on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import qaqfilter_embedded
from qaqfilter import UsageError
from qaqfilter_ray.cluster import Crew, crews
from qaqfilter_ray.cluster import Node as There
from qaqfilter_ray.ledger import DEATHS, Ledger, Piece
from qaqfilter_ray.options import RayOptions
from ray_cluster import QAQFILTER, Marked, Node, cluster, kill
from s3_server import s3_server
from tiny_models import make_model

WORDS = "the a list of numbers sort reverse python return count string loop tree graph".split()  # noqa: SIM905
RECIPE = """
version: 1
name: shared
input: {use: jsonl, path: "%s"}
models:
  strong: {use: ngram, order: 3}
  weak: {use: ngram, order: 1}
steps:
  - {id: gap, use: disagreement, strong: strong, weak: weak, keep: {fraction: 0.5}}
output: {use: jsonl, path: out}
run: {window: %d, store: store}
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEAK = Path(qaqfilter_embedded.__file__).parent / "weak"
SAME = ("kept.jsonl", "rejected.jsonl", "scores.parquet", "quarantine.jsonl")
KILLER = """
import os, signal, time
from qaqfilter import Component, hookimpl
from qaqfilter_ngram.backend import NgramBackend, NgramOptions

class KillerOptions(NgramOptions):
    loading: bool = False

class Killer(NgramBackend):
    def __init__(self, config, resources):
        if config.loading:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(config, resources)

    def logprobs(self, sequences):
        if any(b"POISON" in bytes(i for i in one.ids if i < 256) for one in sequences):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().logprobs(sequences)

@hookimpl
def qaqfilter_backends():
    yield Component("killer", KillerOptions, Killer, "dies of a word, or of being loaded")
"""


def write_records(folder: Path, records: int, files: int) -> None:
    folder.mkdir()
    numbers = random.Random(0)
    for number in range(files):
        with (folder / f"{number}.jsonl").open("w") as file:
            for _ in range(records // files):
                query = " ".join(numbers.choices(WORDS, k=8))
                answer = "def f(x):\n    " + " ".join(numbers.choices(WORDS, k=20))
                file.write(json.dumps({"query": query, "answer": answer}) + "\n")


def recipe_of(folder: Path, pattern: str, *, window: int = 64) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE % (pattern, window))
    return path


def qaqfilter(*words: object, mark: Marked | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [QAQFILTER, *map(str, words)],
        env=None if mark is None else mark.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str], code: int = 0) -> str:
    text, _ = process.communicate()
    assert process.returncode == code, text
    return text


def run(*words: object, code: int = 0) -> str:
    return said(qaqfilter("run", *words), code)


def ray(**options: object) -> str:
    return f"run.executor={json.dumps({'use': 'ray', **options})}"


def slow_plugin(folder: Path) -> Path:
    """The toy model as `killer`, with a rest before each batch."""
    path = folder / "slow.py"
    path.write_text(KILLER.replace("        if any(", "        time.sleep(0.2)\n        if any("))
    return path


def same(one: Path, other: Path) -> None:
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def models_of(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / "manifest.json").read_text())["models"]
    return found


@pytest.fixture(scope="module", autouse=True)
def without_token():
    """Whoever has a token of Ray's in the home folder starts clusters that ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture(scope="module")
def two_thousand(tmp_path_factory):
    """A recipe over 2,000 records of five files, and what the local executor makes of it."""
    folder = tmp_path_factory.mktemp("parity")
    write_records(folder / "in", 2000, 5)
    recipe = recipe_of(folder, str(folder / "in" / "*.jsonl"))
    run(recipe, "--set", "output.path=local", "--set", "run.store=false")
    return recipe


@pytest.fixture(scope="module")
def address():
    """A cluster of two CPUs."""
    with cluster(2) as (where, _):
        yield where


# --- the same answer --------------------------------------------------------------------


def test_one_worker_for_each_model_gives_the_same(two_thousand, address) -> None:
    folder = two_thousand.parent
    text = run(two_thousand, "--set", "output.path=one", "--set", ray(address=address))
    same(folder / "local", folder / "one")
    assert "scoring (strong, weak): 4000/4000 records" in text
    assert "Ray: 1 node with 2 CPUs and 0 GPUs" in text
    for model in models_of(folder / "one"):
        (worker,) = model["workers"].values()
        assert worker["records"] == 2000
        assert worker["tokens"] == model["cost"]["computed"] > 0
    # What ended in good order is in the store, or nearly all of it.
    again = run(two_thousand, "--set", "output.path=again", "--set", ray(address=address))
    same(folder / "local", folder / "again")
    assert "saved" in again
    stored = [model["cost"]["stored"] for model in models_of(folder / "again")]
    assert min(stored) > 0, again


def test_a_cluster_of_its_own_and_two_workers_give_the_same(two_thousand, tmp_path) -> None:
    """More workers than there is room for at once: one model after the other."""
    folder, mark = two_thousand.parent, Marked()
    words = ("--set", "output.path=two", "--set", "run.store=false", "--set", ray(concurrency=2))
    # So slow that the first worker has not done everything before the second is there.
    words += ("--plugin", slow_plugin(tmp_path), "--set", "models.strong.use=killer")
    text = said(qaqfilter("run", two_thousand, *words, mark=mark))
    if os.cpu_count() == 2:
        assert "one model is scored after the other" in text
    same(folder / "local", folder / "two")
    shares = [worker["records"] for worker in models_of(folder / "two")[0]["workers"].values()]
    assert len(shares) == 2 and sum(shares) == 2000 and min(shares) > 0, shares
    assert not mark.workers(), "the cluster of the run is still there"


def test_tokenising_apart_gives_the_same(two_thousand, address) -> None:
    """As for models on GPUs: other actors tokenise, windows arrive prepared."""
    folder = two_thousand.parent
    only_strong = ray(address=address, tokenizers=1, num_cpus=0.5)
    words = ("--set", "output.path=apart", "--set", "run.store=false", "--set", only_strong)
    run(two_thousand, *words)
    same(folder / "local", folder / "apart")


def test_parquet_in_a_bucket_goes_to_shards(two_thousand, tmp_path) -> None:
    """What fsspec reads, workers read; what is written has the shards that the recipe asks for."""
    rows = [
        json.loads(line)
        for path in sorted((two_thousand.parent / "in").iterdir())
        for line in path.read_text().splitlines()
    ]
    with s3_server() as server:
        system = server.system()
        for number in range(4):
            with system.open(f"bucket/in/{number}.parquet", "wb") as file:
                pq.write_table(pa.Table.from_pylist(rows[number * 100 : number * 100 + 100]), file)
        recipe = recipe_of(tmp_path, "s3://bucket/in/*.parquet")
        words = ("--set", "input.use=parquet", "--set", "output.shard_rows=50")
        run(recipe, *words, "--set", "output.path=local", "--set", "run.store=false")
        run(recipe, *words, "--set", ray())  # a cluster of its own has the bucket's keys
    names = [f"kept-0000{number}.jsonl" for number in range(4)]
    assert sorted(path.name for path in (tmp_path / "out").glob("kept*")) == names
    for name in (*names, "rejected.jsonl", "scores.parquet"):
        here, there = (tmp_path / at / name for at in ("out", "local"))
        assert here.read_bytes() == there.read_bytes(), name


def test_a_torch_model_gives_the_same_within_its_tolerance(two_thousand, address, tmp_path) -> None:
    make_model(tmp_path / "llama")
    shutil.copytree(two_thousand.parent / "in", tmp_path / "in")
    recipe = recipe_of(tmp_path, str(tmp_path / "in" / "*.jsonl"), window=16)
    model = json.dumps({"use": "transformers", "model": str(tmp_path / "llama"), "device": "cpu"})
    words = ("--limit", "64", "--set", f"models.strong={model}", "--set", "run.store=false")
    # Tokenised apart from the model, as where it is on a GPU.
    shared = ray(address=address, num_cpus=0.5, tokenizers=1)
    run(recipe, *words, "--set", "output.path=local")
    run(recipe, *words, "--set", shared)
    here, there = (pq.read_table(tmp_path / at / "scores.parquet") for at in ("out", "local"))
    assert here.column_names == there.column_names
    name = "strong.query_given_answer.logprob"
    ours, theirs = (np.array(table[name]) for table in (here, there))
    assert len(ours) == 64 and np.isfinite(ours).all()
    assert np.abs(ours - theirs).max() < 1e-3  # of sums of hundreds of nats, in float32
    assert here["id"].equals(there["id"])


def test_what_a_worker_raises_ends_the_run(two_thousand, address, tmp_path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(two_thousand.parent / "in", folder)
    recipe = recipe_of(tmp_path, str(folder / "*.jsonl"))
    plugin = tmp_path / "failing.py"
    plugin.write_text(
        KILLER.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise RuntimeError('no more')")
    )
    with (folder / "3.jsonl").open("a") as file:
        file.write('{"query": "POISON", "answer": "a"}\n')
    words = ("--plugin", plugin, "--set", "models.weak.use=killer", "--set", ray(address=address))
    text = run(recipe, *words, code=1)
    assert "model 'weak' (killer)" in text and "RuntimeError: no more" in text
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_kept_records_alone_are_on_the_standard_output(two_thousand, address) -> None:
    words = ("--set", "output.path=-", "--set", ray(address=address), "--set", "run.store=false")
    done = subprocess.run([QAQFILTER, "run", two_thousand, *words], capture_output=True, check=True)
    assert done.stdout == (two_thousand.parent / "local" / "kept.jsonl").read_bytes()


def test_a_sample_is_scored_in_this_process(two_thousand) -> None:
    """`preview` starts no cluster."""
    mark = Marked()
    process = qaqfilter("preview", two_thousand, "-n", "3", "--set", ray(), mark=mark)
    assert "strong" in said(process)


# --- faults -----------------------------------------------------------------------------


def test_dying_workers_and_a_dying_driver_change_nothing(tmp_path) -> None:
    """Five of ten random workers are killed, then the driver; the run that goes on loses five."""
    write_records(tmp_path / "in", 5000, 8)
    recipe = recipe_of(tmp_path, str(tmp_path / "in" / "*.jsonl"), window=32)
    run(recipe, "--set", "output.path=local", "--set", "run.store=false")
    numbers = random.Random(1)

    def kills(process: subprocess.Popen[str], mark: Marked, most: int) -> int:
        done = 0
        while process.poll() is None and done < most:
            time.sleep(numbers.uniform(0.3, 1.5))
            if mark.processes("ray::MapWorker") and (there := mark.workers()):
                done += kill(numbers.choice(there))
        return done

    # The same numbers, so slowly that there is somebody to kill.
    slow = ("--plugin", slow_plugin(tmp_path), "--set", "models.strong.use=killer", "--set", ray())
    mark = Marked()
    first = qaqfilter("run", recipe, *slow, mark=mark)
    assert kills(first, mark, 5) == 5, said(first)
    while not [*(tmp_path / "store").rglob("*.parquet")]:
        assert first.poll() is None, said(first)
        time.sleep(0.1)
    assert first.poll() is None, "the run ended before its driver was killed"
    first.kill()
    first.communicate()
    mark.kill()
    second = qaqfilter("run", recipe, *slow, mark=mark)
    assert kills(second, mark, 5) == 5, said(second)
    text = said(second)
    same(tmp_path / "local", tmp_path / "out")
    stored = [model["cost"]["stored"] for model in models_of(tmp_path / "out")]
    assert max(stored) > 0, text
    scored = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert len(scored) == 5000


def test_a_record_that_kills_is_found_and_set_aside(tmp_path, address) -> None:
    write_records(tmp_path / "in", 600, 3)
    recipe = recipe_of(tmp_path, str(tmp_path / "in" / "*.jsonl"), window=200)
    plugin = tmp_path / "killer.py"
    plugin.write_text(KILLER)
    words = ("--plugin", plugin, "--set", "models.strong.use=killer")
    run(recipe, *words, "--set", "output.path=without", "--set", "run.store=false")
    poison = '{"query": "POISON", "answer": "return 1"}\n'
    with (tmp_path / "in" / "2.jsonl").open("a") as file:
        file.write(poison)
    text = run(recipe, *words, "--set", ray(address=address))
    assert f"1 records killed {DEATHS} workers that scored it with model 'strong'" in text
    assert "what was scored is in the score store" in text
    (line,) = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    bad = json.loads(line)
    assert (bad["part"], bad["line"], bad["raw"]) == ("2.jsonl", 201, poison)
    for name in ("kept.jsonl", "rejected.jsonl"):
        # The toy model is fitted on the input: on that without the record, then.
        here, there = (tmp_path / at / name for at in ("out", "without"))
        assert here.read_bytes() == there.read_bytes(), name
    # It is remembered: by the finished run, and by what decides anew from its numbers.
    assert "nothing to do" in run(recipe, *words, "--set", ray(address=address))
    select = ("--plugin", plugin, "--set", "models.strong.use=killer", "--scores", tmp_path / "out")
    said(qaqfilter("select", recipe, *select, "--set", "output.path=selected"))
    assert (tmp_path / "selected" / "kept.jsonl").read_bytes() == (
        tmp_path / "out" / "kept.jsonl"
    ).read_bytes()


def test_who_dies_while_loading_is_not_replaced_for_ever(tmp_path, address) -> None:
    write_records(tmp_path / "in", 60, 3)
    recipe = recipe_of(tmp_path, str(tmp_path / "in" / "*.jsonl"))
    plugin = tmp_path / "killer.py"
    plugin.write_text(KILLER)
    use = ('models.weak={"use": "killer", "loading": true}', ray(address=address))
    text = run(recipe, "--plugin", plugin, "--set", use[0], "--set", use[1], code=1)
    assert "model 'weak': " in text and "were killed while they loaded it" in text
    assert "lacks the memory" in text


def test_two_nodes_work_and_one_may_leave(tmp_path) -> None:
    write_records(tmp_path / "in", 3000, 6)
    recipe = recipe_of(tmp_path, str(tmp_path / "in" / "*.jsonl"), window=32)
    run(recipe, "--set", "output.path=local", "--set", "run.store=false")
    with cluster(1) as (address, folder):
        other = Node(folder, f"--address={address}", "--num-cpus=1")
        try:
            one = "models.strong.use=ngram", ray(address=address, concurrency=1)
            run(recipe, "--set", one[1], "--set", "output.path=both", "--set", "run.store=false")
            same(tmp_path / "local", tmp_path / "both")
            workers = [name for model in models_of(tmp_path / "both") for name in model["workers"]]
            assert len({name.split()[1] for name in workers}) == 2, workers
            mark = Marked()
            more = ("--set", one[1], "--set", "output.path=left", "--set", "run.store=false")
            going = qaqfilter("run", recipe, *more, mark=mark)
            while not other.processes("ray::MapWorker"):
                assert going.poll() is None, said(going)
                time.sleep(0.1)
            time.sleep(1)
            other.kill()
            said(going)
            same(tmp_path / "local", tmp_path / "left")
        finally:
            other.kill()


def test_models_are_on_nodes_with_gpus_and_the_rest_is_not(tmp_path) -> None:
    """The GPU is one that Ray was told of; what is tested is who goes where."""
    write_records(tmp_path / "in", 2000, 5)
    recipe = recipe_of(tmp_path, str(tmp_path / "in" / "*.jsonl"), window=32)
    run(recipe, "--set", "output.path=local", "--set", "run.store=false")
    with cluster(1) as (address, folder):
        other = Node(folder, f"--address={address}", "--num-cpus=2", "--num-gpus=1")
        try:
            half = ray(address=address, num_gpus=0.5)
            going = qaqfilter("run", recipe, "--set", half, "--set", "run.store=false")
            seen = set()
            while going.poll() is None:
                with_gpu = other.titles("ray::MapWorker", "ray::ReadRanges")
                seen |= {"Scorer" if "Scorer" in title else title for title in with_gpu}
                time.sleep(0.1)
            text = said(going)
        finally:
            other.kill()
    same(tmp_path / "local", tmp_path / "out")
    assert "2 nodes with 3 CPUs and 1 GPUs" in text
    assert "scoring (strong, weak): 4000/4000 records" in text
    assert seen == {"Scorer"}
    workers = [name for model in models_of(tmp_path / "out") for name in model["workers"]]
    assert len(workers) == 2 and len({name.split()[1] for name in workers}) == 1, workers


# --- before it starts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurrency": 3}, "3 workers of model 'strong', each with num_cpus: 1"),
        ({"num_gpus": 1}, "num_gpus: 1, do not fit into the cluster, which has room for 0"),
        ({"models": {"weak": {"num_cpus": 4}}}, "1 workers of model 'weak', each with num_cpus: 4"),
        ({"models": {"week": {"num_cpus": 1}}}, "run.executor.models: no model is called 'week'"),
    ],
    ids=["workers", "gpus", "one model", "name"],
)
def test_what_does_not_fit_is_told_before_anything_is_read(
    two_thousand, address, options, told
) -> None:
    words = ("--set", "output.path=never", "--set", ray(address=address, **options))
    text = run(two_thousand, *words, code=2)
    assert told in text
    assert "reading" not in text


def test_a_cluster_that_is_not_there_is_told(two_thousand) -> None:
    words = ("--set", "output.path=never", "--set", ray(address="127.0.0.1:1"))
    assert "no Ray cluster can be joined at '127.0.0.1:1'" in run(two_thousand, *words, code=2)


def test_ray_client_is_refused(two_thousand) -> None:
    words = ("--set", "output.path=never", "--set", ray(address="ray://127.0.0.1:10001"))
    text = run(two_thousand, *words, code=2)
    assert "is Ray Client" in text and "ray job submit" in text


def test_what_a_node_lacks_is_told_before_anything_is_read(two_thousand) -> None:
    """A node without a plugin, as one where it was never installed."""
    with cluster(1) as (address, folder):
        other = Node(
            folder, f"--address={address}", "--num-cpus=1", QAQFILTER_BLOCK_PLUGINS="ngram"
        )
        try:
            words = ("--set", "output.path=never", "--set", ray(address=address))
            text = run(two_thousand, *words, code=2)
        finally:
            other.kill()
    assert "the run cannot go to this cluster:\n  node " in text
    assert "no backend is called 'ngram'" in text and "Blocked by QAQFILTER_BLOCK_PLUGINS" in text
    assert "reading" not in text


def test_a_model_that_a_node_cannot_see_is_told(two_thousand, tmp_path, monkeypatch) -> None:
    """The hub's cache of one node has it, that of the other has not, and there is no network."""
    hub = tmp_path / "seen" / "hub" / "models--org--name"
    shutil.copytree(WEAK, hub / "snapshots" / COMMIT)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text(COMMIT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "seen"))
    use = 'models.strong={"use": "reference", "model": "hf:org/name"}'
    words = ("--set", use, "--set", "output.path=never", "--limit", "20")
    with cluster(1) as (address, folder):
        alone = ray(address=address, num_cpus=0.5)
        run(two_thousand, *words, "--set", alone, "--set", "run.store=false", "--replace")
        other = Node(folder, f"--address={address}", "--num-cpus=1", HF_HOME=str(tmp_path / "none"))
        try:
            text = run(two_thousand, *words, "--set", alone, "--replace", code=2)
        finally:
            other.kill()
    (line,) = (line for line in text.splitlines() if line.startswith("  node "))
    assert "models.strong.model: " in line and "org/name" in line
    assert "reading" not in text


# --- shares of a cluster ----------------------------------------------------------------

NODES = [There("a", "a", 8, 4), There("b", "b", 8, 4), There("c", "c", 16, 0)]


def test_models_share_what_the_cluster_has() -> None:
    options = RayOptions()
    assert crews(options, ["strong"], NODES) == [Crew(8, 1, 1, 2)]
    assert crews(options, ["strong", "weak"], NODES) == [Crew(4, 1, 1, 1), Crew(4, 1, 1, 1)]
    weak = RayOptions.model_validate({"models": {"weak": {"num_gpus": 0, "num_cpus": 4}}})
    assert crews(weak, ["strong", "weak"], NODES) == [Crew(8, 1, 1, 2), Crew(6, 4, 0, 0)]
    fixed = RayOptions.model_validate({"models": {"weak": {"concurrency": 6}}})
    assert crews(fixed, ["strong", "weak"], NODES) == [Crew(2, 1, 1, 1), Crew(6, 1, 1, 2)]


def test_models_without_room_for_both_are_told_apart() -> None:
    options = RayOptions.model_validate({"concurrency": 5})
    assert crews(options, ["strong", "weak"], NODES) == []
    assert crews(options, ["strong"], NODES) == [Crew(5, 1, 1, 2)]
    assert crews(RayOptions(), ["strong", "weak"], [There("a", "a", 1, 1)]) == []
    with pytest.raises(UsageError, match="5 workers of model 'x', each with num_cpus: 1 and num_g"):
        crews(RayOptions(num_gpus=2, concurrency=5), ["x"], NODES)


# --- the ledger -------------------------------------------------------------------------


def test_a_window_is_divided_until_one_record_is_left() -> None:
    """Whatever holds the record 300 kills its worker."""
    ledger = Ledger([1])
    deaths = 0
    while True:
        pieces = ledger.begins(0, 7, 512)
        assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
        assert (pieces[0].start, pieces[-1].stop) == (0, 512)
        for number, piece in enumerate(pieces):
            if piece.kills:
                continue
            ledger.tries(0, 7, number)
            if piece.start <= 300 < piece.stop:
                deaths += 1
                break
        else:
            break
    assert [piece for piece in pieces if piece.kills] == [Piece(300, 301, DEATHS)]
    assert deaths == 3 + DEATHS == ledger.died()
    assert ledger.ends(0, 7) == 0


def test_who_dies_once_is_not_suspected_for_long() -> None:
    """A worker that was killed from outside: every record is scored in the next attempt."""
    ledger = Ledger([2])
    assert ledger.begins(0, 0, 10) == [Piece(0, 10)]
    ledger.tries(0, 0, 0)
    pieces = ledger.begins(0, 0, 10)
    assert [piece.stop - piece.start for piece in pieces] == [1] * 10
    assert not any(piece.kills for piece in pieces)
    for number in range(10):
        ledger.tries(0, 0, number)
    assert ledger.ends(0, 0) == 1
    assert ledger.begins(0, 0, 10) == pieces  # as where a node left with the answer


def test_loading_is_counted_until_somebody_succeeds() -> None:
    ledger = Ledger([1])
    assert [ledger.loads(0, "a"), ledger.loads(0, "a"), ledger.loads(0, "b")] == [0, 1, 1]
    ledger.loaded(0, "b")
    assert ledger.loads(0, "a") == 1
