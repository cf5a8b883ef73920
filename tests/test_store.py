"""The score store: what was scored once is found again, whoever wrote it and whatever broke."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qaqfilter
from qaqfilter import StoreError
from qaqfilter import store as store_module
from qaqfilter.identity import KEY_BYTES, Score, fingerprint, score_key
from qaqfilter.scoring import Scorer
from qaqfilter.store import ScoreStore, open_store
from qaqfilter.types import LIKELIHOODS, Status
from qaqfilter_ngram.backend import NgramBackend
from test_planning import Plain, PositionBackend, record, window

ids = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)
sides = st.tuples(st.integers(0, 4), ids)


@given(sides, sides)
def test_a_key_is_shared_by_equal_tokens_and_boundary_only(one, other):
    assert (score_key(*one) == score_key(*other)) == (one == other)


def test_a_fingerprint_does_not_depend_on_the_order_of_facts():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def key(number: int) -> bytes:
    return number.to_bytes(8, "big") + b"\0" * 8


def scores(*numbers: int) -> dict[bytes, Score]:
    return {key(n): Score(-float(n), n + 1, Status.OK) for n in numbers}


def keys_of(*numbers: int) -> list[bytes]:
    return [key(n) for n in numbers]


@pytest.mark.parametrize("flushed", [False, True])
def test_what_is_added_is_found_also_by_who_comes_later(tmp_path, flushed):
    store = ScoreStore(tmp_path)
    store.add(scores(*range(100)))
    if flushed:
        store.flush()
    assert store.find(keys_of(3, 99, 100, 3)) == scores(3, 99)
    store.flush()
    later = ScoreStore(tmp_path)
    assert len(later) == 100
    assert later.find(keys_of(*range(90, 120))) == scores(*range(90, 100))


def test_keys_that_begin_alike_are_told_apart(tmp_path):
    store = ScoreStore(tmp_path)
    one, two = b"12345678" + b"a" * 8, b"12345678" + b"b" * 8
    store.add({one: Score(-1.0, 1, 0), two: Score(-2.0, 2, 0)})
    store.flush()
    found = ScoreStore(tmp_path).find([two, one, b"12345678" + b"c" * 8])
    assert found == {one: Score(-1.0, 1, 0), two: Score(-2.0, 2, 0)}


def test_a_null_is_remembered_as_a_null(tmp_path):
    store = ScoreStore(tmp_path)
    store.add({key(1): Score(float("nan"), 0, Status.NOT_FINITE)})
    store.flush()
    (found,) = ScoreStore(tmp_path).find([key(1)]).values()
    assert np.isnan(found.logprob)
    assert found.status == Status.NOT_FINITE


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_scores_of_one_key_the_same_counts_in_any_order(tmp_path, order):
    versions = [Score(-3.0, 2, 0), Score(-3.5, 2, 0), Score(float("nan"), 0, Status.NOT_FINITE)]
    for score in versions[::order]:
        store = ScoreStore(tmp_path)
        store.add({key(7): score})
        store.flush()
    assert ScoreStore(tmp_path).find([key(7)]) == {key(7): Score(-3.5, 2, 0)}


def test_many_parts_are_searched_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "MOST_RUNS", 3)
    monkeypatch.setattr(store_module, "OPEN_PARTS", 2)
    store = ScoreStore(tmp_path)
    for part in range(11):
        store.add(scores(*range(part * 10, part * 10 + 10)))
        store.flush()
    assert len(list(tmp_path.glob("*.parquet"))) == 11
    for one in (store, ScoreStore(tmp_path)):
        assert one.find(keys_of(*range(0, 120, 3))) == scores(*range(0, 110, 3))


def test_two_writers_do_not_disturb_each_other(tmp_path):
    one, two = ScoreStore(tmp_path), ScoreStore(tmp_path)
    one.add(scores(1))
    two.add(scores(2))
    one.flush()
    two.flush()
    assert ScoreStore(tmp_path).find(keys_of(1, 2)) == scores(1, 2)


@pytest.mark.parametrize("damage", ["cut", "keys", "scores", "empty"])
def test_a_damaged_part_is_moved_aside_and_said(tmp_path, caplog, damage):
    for numbers in (range(500), range(500, 1000)):
        store = ScoreStore(tmp_path)
        store.add(scores(*numbers))
        store.flush()
    first, _ = sorted(tmp_path.glob("*.parquet"))
    data = bytearray(first.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "empty":
        data = bytearray()
    else:
        # The keys come first and take most of the file; the sums follow.
        data[200 if damage == "keys" else int(len(data) * 0.75)] ^= 0xFF
    first.write_bytes(data)
    found = ScoreStore(tmp_path).find(keys_of(*range(1000)))
    assert found == scores(*range(500, 1000))
    assert "is damaged" in caplog.text
    assert first.with_suffix(".damaged").exists()
    assert not first.exists()


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"run\.store: false"),
        open_store(tmp_path / "file", {"a": 1}),
    ):
        pass


# --- scoring with a store


class Dies(PositionBackend):
    """Answers some calls, then fails; like the others its numbers differ by their neighbours."""

    def __init__(self, after: int = 10**9) -> None:
        super().__init__()
        self.after = after

    def logprobs(self, sequences):
        if len(self.calls) == self.after:
            raise KeyboardInterrupt
        found = super().logprobs(sequences)
        shift = len(sequences) * 1e-3
        return [tuple(array - shift for array in arrays) for arrays in found]


RECORDS = [record(f"query {i % 5}", f"the answer {i}" * (1 + i % 3), i) for i in range(40)]
WINDOWS = [window(*RECORDS[n : n + 10]) for n in range(0, 40, 10)]


def scored(backend, store) -> list:
    scorer = Scorer("m", backend, Plain(), LIKELIHOODS, store=store)
    return list(scorer(WINDOWS))


def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path):
    """Equal queries stand in several batches and windows, and neighbours move the numbers."""
    undisturbed = Dies()
    with open_store(tmp_path / "a", {}) as store:
        expected = scored(undisturbed, store)
    calls = len(undisturbed.calls)
    assert calls > 8
    for after in range(calls):
        root = tmp_path / f"cut{after}"
        with pytest.raises(KeyboardInterrupt), open_store(root, {}) as store:
            scored(Dies(after), store)
        resumed = Dies()
        with open_store(root, {}) as store:
            got = scored(resumed, store)
        assert len(resumed.calls) == calls - after, "nothing is computed twice"
        for mine, theirs in zip(got, expected, strict=True):
            for name in LIKELIHOODS:
                np.testing.assert_array_equal(
                    mine.columns[name].logprob, theirs.columns[name].logprob
                )


def test_the_cost_says_what_was_known(tmp_path):
    with open_store(tmp_path, {}) as store:
        first = scored(Dies(), store)
    with open_store(tmp_path, {}) as store:
        second = scored(Dies(), store)
    assert sum(s.cost.stored for s in second) == sum(s.cost.planned for s in second)
    assert sum(s.cost.computed for s in second) == 0
    assert sum(s.cost.computed + s.cost.stored for s in first) == sum(s.cost.planned for s in first)


# --- whole runs


def test_a_threshold_may_change_without_a_pass(write_recipe, tmp_path):
    steps = "  - {id: q, use: rmi, keep: {fraction: %s}}"
    first = qaqfilter.run(write_recipe(steps % 0.5))
    kept = (first.folder / "kept.jsonl").read_bytes()
    again = qaqfilter.run(write_recipe(steps % 0.25), replace=True)
    assert again.models[0].cost.computed == 0
    assert (first.models[0].cost.stored, again.kept) == (0, 2)
    back = qaqfilter.run(write_recipe(steps % 0.5), replace=True)
    assert (back.folder / "kept.jsonl").read_bytes() == kept


def test_without_a_store_nothing_is_kept(write_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("QAQFILTER_STORE", str(tmp_path / "default"))
    steps = "  - {id: q, use: rmi, keep: {fraction: 0.5}}"
    path = write_recipe(steps)
    for _ in range(2):
        report = qaqfilter.run(path, overrides=["run.store=false"], replace=True)
        assert report.models[0].cost.stored == 0
    assert not (tmp_path / "default").exists()
    qaqfilter.run(path, overrides=["run.store=here"], replace=True)
    (facts,) = (path.parent / "here").glob("*/facts.json")
    assert json.loads(facts.read_bytes())["backend"] == "ngram"


SLOW = """
import time
from qaqfilter_ngram.backend import NgramBackend
real = NgramBackend.logprobs
def slowly(self, sequences):
    time.sleep(0.2)
    return real(self, sequences)
NgramBackend.logprobs = slowly
NgramBackend.batch_tokens = 200
from qaqfilter.cli import main
main(["run", "recipe.yaml"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM cannot be caught there")
def test_sigterm_stores_what_is_scored_and_says_how_to_go_on(write_recipe, tmp_path, monkeypatch):
    path = write_recipe("  - {id: q, use: rmi, keep: {fraction: 0.5}}")
    path = path.rename(path.with_name("recipe.yaml"))
    store = tmp_path / "scores"
    monkeypatch.setenv("QAQFILTER_STORE", str(store))
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW], cwd=path.parent, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(store.glob("*/facts.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.7)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    monkeypatch.setattr(NgramBackend, "batch_tokens", 200)
    report = qaqfilter.run(path)
    assert report.models[0].cost.stored > 0


def test_keys_are_sixteen_bytes():
    assert len(score_key(1, (0, 1))) == KEY_BYTES
