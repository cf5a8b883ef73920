"""Tokens in the score store: found again, joined, verified and cleared like the sums there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import reduce
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qaqfilter
from outputs import visible
from qaqfilter import BackendError, compaction, token_parts, upkeep
from qaqfilter import store as store_module
from qaqfilter.cli import run_cli
from qaqfilter.compaction import compact
from qaqfilter.identity import Score
from qaqfilter.parts import new_path, parts_of, written_whole
from qaqfilter.scoring import Scorer
from qaqfilter.store import KeyedStore, ScoreStore, open_store
from qaqfilter.token_parts import TOKENS
from qaqfilter.types import LIKELIHOODS
from qaqfilter_ngram.backend import NgramBackend
from test_planning import Plain, PositionBackend, record, window
from test_store import RECORDS, WINDOWS, Dies, key, keys_of, scores

STEPS = "  - {id: moved, use: s_ifd, keep: {fraction: 0.5}}"


def numbers(*values) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def put(folder, values) -> Path:
    path = new_path(folder / "tokens")
    with written_whole(path) as file:
        TOKENS.write(file, TOKENS.of(values))
    return path


def opened(folder) -> KeyedStore:
    return ScoreStore(folder).tokens


def plain(found):
    return {key: values.tolist() for key, values in found.items()}


some_tokens = st.lists(st.floats(-(2.0**40), 0, width=32), min_size=1, max_size=4).map(
    lambda v: numbers(*v)
)
some_parts = st.lists(
    st.dictionaries(st.integers(0, 9).map(key), some_tokens, min_size=1, max_size=6), max_size=6
)


# --- written and read


@given(st.dictionaries(st.integers(0, 9).map(key), some_tokens, min_size=1))
def test_what_is_written_is_read_to_the_bit(values):
    with tempfile.TemporaryDirectory() as name:
        put(Path(name), values)
        found = opened(Path(name)).find(keys_of(*range(12)))
        assert found.keys() == values.keys()
        for one, array in found.items():
            assert array.dtype == np.float32
            assert array.tobytes() == values[one].tobytes()


def test_what_is_added_is_found_also_by_who_comes_later(tmp_path):
    store = ScoreStore(tmp_path)
    store.add(scores(1))
    store.tokens.add({key(1): numbers(-1, -2)})
    assert plain(store.tokens.find(keys_of(1, 2))) == {key(1): [-1, -2]}
    assert not (tmp_path / "tokens").exists()
    store.flush()
    assert plain(opened(tmp_path).find(keys_of(1, 2))) == {key(1): [-1, -2]}
    assert ScoreStore(tmp_path).find(keys_of(1)) == scores(1)


def test_nobody_looks_at_tokens_who_wants_sums(tmp_path, monkeypatch):
    put(tmp_path, {key(1): numbers(-1)})
    monkeypatch.setattr(token_parts, "read_columns", None)
    monkeypatch.setattr(store_module, "read_keys", None)
    with open_store(tmp_path, {"a": 1}) as store:
        assert store.find(keys_of(1)) == {}


# --- of two, the same counts in any order


@given(st.lists(some_tokens, min_size=1, max_size=4))
def test_one_rule_in_any_order(versions):
    expected = reduce(TOKENS.better, versions).tobytes()
    for order in permutations(versions):
        assert reduce(TOKENS.better, order).tobytes() == expected
        part = TOKENS.without_duplicates(TOKENS.of({key(7): values}) for values in order)
        assert [row.tobytes() for row in part.logprobs] == [expected]


def test_the_lowest_sum_counts_as_it_does_among_the_sums(tmp_path):
    for values in ((-1, -2), (-2, -1.5), (-1.5, -2)):
        put(tmp_path, {key(1): numbers(*values)})
    assert plain(opened(tmp_path).find(keys_of(1))) == {key(1): [-2, -1.5]}


@given(some_parts, st.integers(2, 20))
def test_joining_changes_nothing(parts, target):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setattr(token_parts.TokenParts, "target", target)
        for part in parts:
            put(folder, part)
        before = plain(opened(folder).find(keys_of(*range(10))))
        assert set(before) == set().union(*parts)
        for _ in range(2):
            compact(folder)
            assert len(parts_of(folder / "tokens")) <= len(parts)
            assert plain(opened(folder).find(keys_of(*range(10)))) == before


def test_parts_are_joined_by_their_numbers_not_by_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(token_parts.TokenParts, "target", 100)
    for n, size in enumerate((60, 10, 10, 10)):
        put(tmp_path, {key(n): np.full(size, -1, dtype=np.float32)})
    compact(tmp_path)
    assert [TOKENS.weight(path) for path in parts_of(tmp_path / "tokens")] == [60, 30]


def test_many_are_joined_when_a_run_ends_well(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "MANY", 3)
    for n in range(5):
        with open_store(tmp_path, {"a": 1}) as store:
            store.tokens.add({key(n): numbers(-n)})
    (folder,) = upkeep.fingerprints(tmp_path)
    assert len(parts_of(folder / "tokens")) < 5
    assert plain(opened(folder).find(keys_of(*range(9)))) == {key(n): [-n] for n in range(5)}


def test_a_reader_finds_what_was_joined_since_it_opened(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "OPEN_PARTS", 1)
    for n in range(9):
        put(tmp_path, {key(n): numbers(-n)})
    reader = opened(tmp_path)
    assert plain(reader.find(keys_of(3))) == {key(3): [-3]}
    compact(tmp_path)
    assert len(reader.find(keys_of(*range(9)))) == 9
    assert caplog.text == ""


# --- damage


@given(st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(data):
    with tempfile.TemporaryDirectory() as name:
        path = put(Path(name), {key(n): numbers(-n, -0.5, -1e-3 * n) for n in range(1, 6)})
        good = path.read_bytes()
        expected = plain(opened(Path(name)).find(keys_of(*range(8))))
        spoilt = bytearray(good)
        spoilt[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(spoilt)
        found = plain(opened(Path(name)).find(keys_of(*range(8))))
        assert found == (expected if path.exists() else {})


@pytest.mark.parametrize("values", [numbers(0.5), numbers(np.nan), numbers(-np.inf), numbers()])
def test_numbers_that_cannot_be_are_damage(tmp_path, caplog, values):
    path = put(tmp_path, {key(1): values, key(2): numbers(-1)})
    assert opened(tmp_path).find(keys_of(1, 2)) == {}
    assert "some of its numbers cannot be" in caplog.text
    assert path.with_suffix(".damaged").exists()


def test_a_part_of_sums_is_no_part_of_tokens(tmp_path, caplog):
    store = ScoreStore(tmp_path)
    store.add(scores(1))
    store.flush()
    (part,) = parts_of(tmp_path)
    (tmp_path / "tokens").mkdir()
    part.rename(tmp_path / "tokens" / part.name)
    assert opened(tmp_path).find(keys_of(1)) == {}
    assert "not those of a part of its kind" in caplog.text


# --- scoring


def scored(backend, store) -> list:
    return [*Scorer("m", backend, Plain(), LIKELIHOODS, store=store, tokens=LIKELIHOODS)(WINDOWS)]


def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path):
    undisturbed = Dies()
    with open_store(tmp_path / "a", {}) as store:
        expected = scored(undisturbed, store)
    calls = len(undisturbed.calls)
    assert len(RECORDS) == sum(len(s.rows) for s in expected)
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
                assert (
                    mine.columns[name].logprob.tobytes() == theirs.columns[name].logprob.tobytes()
                )
                for one, other in zip(mine.tokens[name], theirs.tokens[name], strict=True):
                    assert one.tobytes() == other.tobytes()


class Lower(PositionBackend):
    """Another machine's answers: each token a little less likely."""

    def logprobs(self, sequences):
        return [tuple(a - 1e-3 for a in arrays) for arrays in super().logprobs(sequences)]


class Nan(PositionBackend):
    def logprobs(self, sequences):
        return [tuple(a * np.nan for a in arrays) for arrays in super().logprobs(sequences)]


def test_the_stored_sum_counts_where_its_tokens_are_computed_later(tmp_path):
    one = window(*RECORDS[:5])
    with open_store(tmp_path, {}) as store:
        (first,) = Scorer("m", PositionBackend(), Plain(), ["answer"], store=store)([one])
    for backend in (Lower(), PositionBackend()):  # the second finds all in the store
        with open_store(tmp_path, {}) as store:
            scorer = Scorer("m", backend, Plain(), ["answer"], store=store, tokens=["answer"])
            (again,) = scorer([one])
        np.testing.assert_array_equal(
            again.columns["answer"].logprob, first.columns["answer"].logprob
        )
        shifted = [row.sum(dtype=np.float64) + 1e-3 * len(row) for row in again.tokens["answer"]]
        np.testing.assert_allclose(shifted, first.columns["answer"].logprob, rtol=1e-6)
    assert backend.calls == []


def test_tokens_that_are_no_numbers_any_more_are_the_models_fault(tmp_path):
    one = window(*RECORDS[:5])
    with open_store(tmp_path, {}) as store:
        list(Scorer("m", PositionBackend(), Plain(), ["answer"], store=store)([one]))
        scorer = Scorer("m", Nan(), Plain(), ["answer"], store=store, tokens=["answer"])
        with pytest.raises(BackendError, match="tokens that are not finite, of a text that had"):
            list(scorer([one]))


def test_a_null_has_no_tokens_and_is_not_computed_again(tmp_path):
    one = window(record("q", "a"))
    backend = Nan()
    for calls in (1, 1):
        with open_store(tmp_path, {}) as store:
            scorer = Scorer("m", backend, Plain(), ["answer"], store=store, tokens=["answer"])
            (found,) = scorer([one])
        assert len(backend.calls) == calls
        assert found.tokens["answer"].lengths.tolist() == [0]
    assert not list(tmp_path.rglob("tokens/*"))


VICTIM = """
import time
from qaqfilter import store
from qaqfilter.cli import main
from qaqfilter_ngram.backend import NgramBackend
store.FLUSH_SECONDS = 0.0
real = NgramBackend.logprobs
def slowly(self, sequences):
    time.sleep(0.1)
    return real(self, sequences)
NgramBackend.logprobs = slowly
NgramBackend.batch_tokens = 200
main(["run", "recipe.yaml"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_run_ends_as_one_that_was_left_alone(write_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(NgramBackend, "batch_tokens", 200)
    path = write_recipe(STEPS)
    (tmp_path / "whole").mkdir()
    expected = visible(
        qaqfilter.run(path, overrides=["run.store=whole", "output.path=whole/out"]).folder
    )
    store = tmp_path / "scores"
    monkeypatch.setenv("QAQFILTER_STORE", str(store))
    killed = subprocess.Popen([sys.executable, "-c", VICTIM], cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(store.glob("*/tokens/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    _, said = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, said
    report = qaqfilter.run(path)
    assert report.models[0].cost.stored > 0
    assert report.models[0].cost.computed > 0
    found = visible(report.folder)
    for name in ("kept.jsonl", "rejected.jsonl", "scores.parquet", "tokens.parquet"):
        assert found[name] == expected[name], name
    assert not list(tmp_path.glob("out/.partial*"))


# --- looked after


@pytest.fixture
def stored(write_recipe):
    recipe = write_recipe(STEPS)
    report = qaqfilter.run(recipe)
    (folder,) = upkeep.fingerprints(Path(os.environ["QAQFILTER_STORE"]))
    return recipe, visible(report.folder), folder


def test_info_counts_them(stored, capsys):
    _, _, folder = stored
    held = upkeep.look(folder)
    assert (held.parts, held.scores, held.detailed) == (2, 16, 16)
    assert held.size == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert run_cli(["cache", "info"]) == 0
    assert "token by token there are 16 of the scores" in capsys.readouterr().out


def test_verify_finds_damage_and_the_next_run_mends_it(stored, capsys):
    recipe, before, folder = stored
    (part,) = parts_of(folder / "tokens")
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 0xFF
    part.write_bytes(data)
    assert run_cli(["cache", "verify"]) == 1
    said = capsys.readouterr().out
    assert f"{part} is damaged" in said
    assert "lost: the tokens of 16 scores; the next run that needs them scores them again" in said
    assert upkeep.look(folder).damaged == 1
    again = qaqfilter.run(recipe, replace=True)
    assert again.models[0].cost.stored == 0
    after = visible(again.folder)
    for name in ("scores.parquet", "tokens.parquet", "kept.jsonl"):
        assert after[name] == before[name]
    assert run_cli(["cache", "verify"]) == 0
    assert run_cli(["cache", "clear", "--damaged", "--yes"]) == 0
    assert upkeep.look(folder).damaged == 0
    assert len(parts_of(folder / "tokens")) == 1


def test_clear_removes_all_of_it_and_nothing_else(stored):
    _, _, folder = stored
    foreign = folder / "tokens" / "mine.txt"
    foreign.touch()
    freed, left = upkeep.clear(folder)
    assert freed > 0
    assert left == [foreign]
    foreign.unlink()
    assert upkeep.clear(folder) == (0, [])
    assert not folder.exists()


def test_a_link_is_nobodys(stored, tmp_path):
    _, _, folder = stored
    elsewhere = tmp_path / "elsewhere"
    (folder / "tokens").rename(elsewhere)
    (folder / "tokens").symlink_to(elsewhere)
    _, left = upkeep.clear(folder)
    assert left == [folder / "tokens"]
    assert len(parts_of(elsewhere)) == 1


def test_old_partials_are_removed(stored):
    _, _, folder = stored
    old = new_path(folder / "tokens", ".partial")
    old.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 3700,) * 2)
    compact(folder)
    assert not old.exists()


def test_two_writers_of_one_key_leave_one_score_with_tokens(tmp_path):
    for shift in (0.0, 0.5):
        store = ScoreStore(tmp_path)
        store.add({key(1): Score(-3.0 - shift, 2, 0)})
        store.tokens.add({key(1): numbers(-1 - shift, -2)})
        store.flush()
    compact(tmp_path)
    assert len(parts_of(tmp_path)) == len(parts_of(tmp_path / "tokens")) == 1
    store = ScoreStore(tmp_path)
    assert store.find(keys_of(1)) == {key(1): Score(-3.5, 2, 0)}
    assert plain(store.tokens.find(keys_of(1))) == {key(1): [-1.5, -2]}
