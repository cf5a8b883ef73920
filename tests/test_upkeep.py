"""Looking after the score store: joined, verified and cleared, while others read and write it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from functools import reduce
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qaqfilter
from qaqfilter import StoreError, compaction, upkeep
from qaqfilter import store as store_module
from qaqfilter.cli import run_cli
from qaqfilter.cli.cache import command as cache_group
from qaqfilter.compaction import better, compact
from qaqfilter.identity import Score, fingerprint
from qaqfilter.parts import (
    Part,
    new_path,
    parts_of,
    read_part,
    read_rows,
    write_part,
    written_whole,
)
from qaqfilter.reports import Observer
from qaqfilter.store import ScoreStore, open_store
from qaqfilter.types import Status
from qaqfilter_ngram.backend import NgramBackend
from test_store import key, keys_of, scores

NULL = Score(float("nan"), 0, Status.NOT_FINITE)
STEPS = "  - {id: q, use: rmi, keep: {fraction: 0.5}}"


def put(folder, values, **options) -> Path:
    """A part with these scores."""
    path = new_path(folder, **options)
    with written_whole(path) as file:
        write_part(file, Part.of(values))
    return path


def comparable(found):
    """NaN is not equal to itself."""
    return {key: (repr(score.logprob), *score[1:]) for key, score in found.items()}


def files(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- joining moves no number

a_score = st.one_of(
    st.builds(Score, st.sampled_from([0.0, -1.0, -1.5]), st.integers(1, 3), st.just(0)),
    st.builds(Score, st.just(float("nan")), st.just(0), st.sampled_from([1, 4])),
)
some_parts = st.lists(
    st.dictionaries(st.integers(0, 9).map(key), a_score, min_size=1, max_size=8), max_size=8
)


@given(some_parts, st.integers(2, 30))
def test_the_same_numbers_before_and_after(parts, target):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setattr(compaction, "TARGET", target)
        for part in parts:
            put(folder, part)
        before = ScoreStore(folder).find(keys_of(*range(10)))
        assert set(before) == set().union(*parts)
        count = len(parts_of(folder))
        for _ in range(2):
            compact(folder)
            assert len(parts_of(folder)) <= count
            after = ScoreStore(folder).find(keys_of(*range(10)))
            assert comparable(after) == comparable(before)


@given(st.lists(a_score, min_size=1, max_size=4))
def test_one_rule_in_any_order_alone_and_in_arrays(versions):
    expected = comparable({key(7): reduce(better, versions)})
    for order in permutations(versions):
        assert comparable({key(7): reduce(better, order)}) == expected
        part = compaction.without_duplicates(Part.of({key(7): score}) for score in order)
        values = part.scores
        (row,) = zip(values.logprob, values.tokens, values.status, strict=True)
        assert comparable({key(7): Score(*(number.item() for number in row))}) == expected


def test_a_score_that_stands_twice_is_written_once(tmp_path):
    for sums in ((-3.0, -5.0), (-4.0, -4.5), (-3.5, -6.0)):
        put(tmp_path, {key(n): Score(value, 2, Status.OK) for n, value in enumerate(sums)})
    put(tmp_path, {key(0): NULL})
    compact(tmp_path)
    (path,) = parts_of(tmp_path)
    assert sorted(read_part(path).scores.logprob) == [-6.0, -4.0]


def test_large_parts_stay_and_small_ones_are_joined_where_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "TARGET", 10)
    sizes = [1, 5, 2, 12, 3, 4, 4, 4]
    start = 0
    for size in sizes:
        put(tmp_path, scores(*range(start, start + size)))
        start += size
    before = parts_of(tmp_path)
    compact(tmp_path)
    after = parts_of(tmp_path)
    assert [read_rows(path) for path in after] == [10, 5, 12, 8]
    assert after[1:3] == [before[1], before[3]]
    assert ScoreStore(tmp_path).find(keys_of(*range(start))) == scores(*range(start))


def test_one_small_part_is_left_alone(tmp_path):
    put(tmp_path, scores(1))
    before = files(tmp_path)
    compact(tmp_path)
    assert files(tmp_path) == before


def test_what_is_damaged_is_moved_aside_and_the_rest_is_joined(tmp_path, caplog):
    paths = [put(tmp_path, scores(*range(n * 100, n * 100 + 100))) for n in range(3)]
    data = bytearray(paths[1].read_bytes())
    data[200] ^= 0xFF
    paths[1].write_bytes(data)
    compact(tmp_path)
    assert len(parts_of(tmp_path)) == 1
    assert paths[1].with_suffix(".damaged").exists()
    assert "is damaged" in caplog.text
    expected = scores(*range(100), *range(200, 300))
    assert ScoreStore(tmp_path).find(keys_of(*range(300))) == expected


@given(st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(data):
    """Pages have checksums, the footer has none."""
    with tempfile.TemporaryDirectory() as name:
        path = put(Path(name), scores(*range(8)))
        good, expected = path.read_bytes(), ScoreStore(Path(name)).find(keys_of(*range(8)))
        spoilt = bytearray(good)
        spoilt[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(spoilt)
        found = ScoreStore(Path(name)).find(keys_of(*range(8)))
        assert found == (expected if path.exists() else {})


# --- others read and write meanwhile


def test_a_reader_finds_what_was_joined_since_it_opened(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "OPEN_PARTS", 1)
    for n in range(20):
        put(tmp_path, scores(*range(n * 10, n * 10 + 10)))
    reader = ScoreStore(tmp_path)
    assert reader.find(keys_of(0, 55)) == scores(0, 55)
    compact(tmp_path)
    assert reader.find(keys_of(*range(210))) == scores(*range(200))
    assert len(reader) == 200, "the index names no part that is gone"
    put(tmp_path, scores(300))
    compact(tmp_path)
    assert reader.find(keys_of(*range(200))) == scores(*range(200))
    assert caplog.text == ""


def test_a_part_that_is_joined_between_listing_and_reading(tmp_path, monkeypatch, caplog):
    for n in range(4):
        put(tmp_path, scores(n))
    real = store_module.read_keys
    monkeypatch.setattr(store_module, "read_keys", lambda path: compact(tmp_path) or real(path))
    assert ScoreStore(tmp_path).find(keys_of(*range(4))) == scores(*range(4))
    assert len(parts_of(tmp_path)) == 1
    assert caplog.text == ""


def test_a_writer_finds_its_own_scores_that_somebody_joined_at_once(tmp_path, monkeypatch):
    put(tmp_path, scores(0))
    writer = ScoreStore(tmp_path)
    writer.add(scores(1))
    real = store_module.read_keys
    monkeypatch.setattr(store_module, "read_keys", lambda path: compact(tmp_path) or real(path))
    writer.flush()
    assert len(parts_of(tmp_path)) == 1
    assert writer.find(keys_of(1)) == scores(1)
    assert writer.find(keys_of(0, 1)) == scores(0, 1)


def test_a_listing_that_misses_both_the_old_and_the_new(tmp_path, monkeypatch):
    """A folder that changes while it is read may show neither; nothing is taken for lost."""
    for n in range(3):
        put(tmp_path, scores(n))
    reader = ScoreStore(tmp_path)
    compact(tmp_path)
    real, times = Path.glob, []

    def glob(self, pattern):
        times.append(pattern)
        return iter(()) if len(times) == 1 else real(self, pattern)

    monkeypatch.setattr(Path, "glob", glob)
    assert reader.find(keys_of(0, 1, 2)) == scores(0, 1, 2)
    assert len(times) > 1


def test_of_two_who_join_the_same_parts_one_gives_up(tmp_path, monkeypatch):
    for n in range(5):
        put(tmp_path, scores(n))
    real = compaction.without_duplicates

    def while_a_rival_is_quicker(parts):
        monkeypatch.setattr(compaction, "without_duplicates", real)
        compact(tmp_path)
        return real(parts)

    monkeypatch.setattr(compaction, "without_duplicates", while_a_rival_is_quicker)
    compact(tmp_path)
    (path,) = tmp_path.iterdir()
    assert read_rows(path) == 5


class Compacting(Observer):
    """Joins the parts of a store at each window of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.joined = 0
        self.said: list[str] = []

    def started(self, label, records):
        pass

    def advanced(self, records, tokens):
        for folder in upkeep.fingerprints(self.root):
            before = parts_of(folder)
            compact(folder)
            self.joined += parts_of(folder) != before

    def finished(self):
        pass

    def message(self, text):
        self.said.append(text)


def test_a_run_across_a_compaction_scores_nothing_twice(write_recipe, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(store_module, "OPEN_PARTS", 1)
    monkeypatch.setattr(NgramBackend, "batch_tokens", 200)
    recipe = write_recipe(STEPS)
    root = Path(os.environ["QAQFILTER_STORE"])
    first = qaqfilter.run(recipe, overrides=["run.window=2"])
    outputs = {
        name: (first.folder / name).read_bytes() for name in ("kept.jsonl", "rejected.jsonl")
    }
    (folder,) = upkeep.fingerprints(root)
    assert len(parts_of(folder)) > 3
    calls = []
    real = NgramBackend.logprobs
    monkeypatch.setattr(NgramBackend, "logprobs", lambda *given: calls.append(1) or real(*given))
    observer = Compacting(root)
    again = qaqfilter.run(recipe, overrides=["run.window=2"], replace=True, observer=observer)
    assert observer.joined == 1
    assert calls == []
    assert {name: (again.folder / name).read_bytes() for name in outputs} == outputs
    assert "damaged" not in caplog.text


WRITER = """
import sys
from pathlib import Path
from qaqfilter.store import ScoreStore
from test_store import scores
store = ScoreStore(Path(sys.argv[1]))
for n in range(1000, 2000, 25):
    store.add(scores(*range(n, n + 25)))
    store.flush()
    print(n + 25, flush=True)
"""

COMPACTOR = """
import sys
from pathlib import Path
from qaqfilter import compaction
compaction.TARGET = 300
folder = Path(sys.argv[1])
print("ready", flush=True)
while not (folder / "stop").exists():
    compaction.compact(folder)
"""


def process(script, folder):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


def test_two_compact_one_writes_and_readers_read(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "OPEN_PARTS", 2)
    for n in range(0, 1000, 20):
        put(tmp_path, scores(*range(n, n + 20)))
    old = ScoreStore(tmp_path)
    compactors = [process(COMPACTOR, tmp_path) for _ in range(2)]
    for one in compactors:
        assert one.stdout.readline() == "ready\n"
    writer = process(WRITER, tmp_path)
    written = 1000
    for line in writer.stdout:
        written = int(line)
        assert old.find(keys_of(*range(1000))) == scores(*range(1000))
        assert (
            ScoreStore(tmp_path).find(keys_of(*range(3000))).keys()
            >= scores(*range(written)).keys()
        )
    (tmp_path / "stop").touch()
    for one in (writer, *compactors):
        one.stdout.close()
        assert one.wait(timeout=60) == 0
    assert written == 2000
    (tmp_path / "stop").unlink()
    assert ScoreStore(tmp_path).find(keys_of(*range(3000))) == scores(*range(2000))
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet"}
    assert len(parts_of(tmp_path)) < 90
    assert caplog.text == ""


# --- kills, full disks and what they leave

KILLED = """
import os, sys
from pathlib import Path
from qaqfilter.compaction import compact
setattr(Path, sys.argv[2], lambda *_, **__: os._exit(9))
compact(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(("killed_at", "left"), [("replace", ".partial"), ("unlink", ".parquet")])
def test_a_kill_loses_nothing(tmp_path, killed_at, left):
    for n in range(5):
        put(tmp_path, {**scores(n), key(9): Score(-float(n) - 1, 1, Status.OK)})
    before = files(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), killed_at], check=False)
    assert done.returncode == 9
    (more,) = files(tmp_path) - before
    assert more.endswith(left)
    expected = {**scores(*range(5)), key(9): Score(-5.0, 1, Status.OK)}
    assert ScoreStore(tmp_path).find(keys_of(*range(12))) == expected
    compact(tmp_path)
    assert len(parts_of(tmp_path)) == 1
    assert ScoreStore(tmp_path).find(keys_of(*range(12))) == expected


def leave_partials(folder):
    """One that was just begun, one of a writer that is dead, and a stranger's."""
    young, old, foreign = (
        new_path(folder, ".partial"),
        new_path(folder, ".partial"),
        folder / "download.partial",
    )
    for path in (young, old, foreign):
        path.write_bytes(b"PAR1")
    for path in (old, foreign):
        os.utime(path, (time.time() - 3700,) * 2)
    return {young.name, foreign.name}


@pytest.mark.parametrize("who", ["open", "compact", "verify"])
def test_old_partials_are_removed(tmp_path, who):
    with open_store(tmp_path, {"a": 1}):
        pass
    (folder,) = upkeep.fingerprints(tmp_path)
    stay = leave_partials(folder)
    if who == "open":
        with open_store(tmp_path, {"a": 1}):
            pass
    elif who == "compact":
        compact(folder)
    else:
        assert list(upkeep.verify(folder)) == []
    assert files(folder) == {*stay, "facts.json"}


def test_a_full_disk_leaves_no_partial_and_the_scores_are_not_forgotten(tmp_path, monkeypatch):
    store = ScoreStore(tmp_path)
    store.add(scores(1, 2))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            store.flush()
    assert files(tmp_path) == set()
    store.flush()
    assert ScoreStore(tmp_path).find(keys_of(1, 2)) == scores(1, 2)


def test_a_part_is_not_to_blame_for_the_machine(tmp_path, monkeypatch):
    """Too many open files, no permission: moving good parts aside would lose them."""
    path = put(tmp_path, scores(1))
    store = ScoreStore(tmp_path)

    def fails(path):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(compaction, "read_part", fails)
    with pytest.raises(StoreError, match="Too many open files"):
        store.find(keys_of(1))
    assert files(tmp_path) == {path.name}


# --- joined without being asked


def many_parts(root, count):
    for n in range(count):
        with open_store(root, {"a": 1}) as store:
            store.add(scores(n))
    (folder,) = upkeep.fingerprints(root)
    return folder


def test_many_parts_are_joined_when_a_run_ends_well(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "MANY", 5)
    folder = many_parts(tmp_path, 5)
    assert len(parts_of(folder)) == 5
    with pytest.raises(KeyboardInterrupt), open_store(tmp_path, {"a": 1}) as store:
        store.add(scores(5))
        raise KeyboardInterrupt
    assert len(parts_of(folder)) == 6
    with open_store(tmp_path, {"a": 1}):
        assert len(parts_of(folder)) == 6, "nobody waits at the beginning"
    assert len(parts_of(folder)) == 1
    with open_store(tmp_path, {"a": 1}) as store:
        assert store.find(keys_of(*range(9))) == scores(*range(6))


def test_many_large_parts_are_left_and_a_few_hundred_are_joined_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "MANY", 2)
    monkeypatch.setattr(compaction, "AT_ONCE", 4)
    monkeypatch.setattr(compaction, "TARGET", 2)
    folder = many_parts(tmp_path, 6)
    assert len(parts_of(folder)) == 6, "a part of one score is half of two"
    monkeypatch.setattr(compaction, "TARGET", 250)
    compaction.tidy(folder)
    assert len(parts_of(folder)) == 3


def test_a_run_does_not_fail_because_nothing_could_be_joined(tmp_path, monkeypatch, caplog):
    folder = many_parts(tmp_path, 4)
    monkeypatch.setattr(compaction, "MANY", 3)

    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(compaction, "write_part", full)
    with open_store(tmp_path, {"a": 1}):
        pass
    assert "could not be joined" in caplog.text
    assert "No space left" in caplog.text
    assert len(parts_of(folder)) == 4


# --- the verb


@pytest.fixture
def stored(write_recipe):
    """A recipe that has run, its outputs, and the folder of its scores."""
    recipe = write_recipe(STEPS)
    report = qaqfilter.run(recipe)
    (folder,) = upkeep.fingerprints(Path(os.environ["QAQFILTER_STORE"]))
    return recipe, (report.folder / "kept.jsonl").read_bytes(), folder


def cache(*arguments, code=0):
    assert run_cli(["cache", *map(str, arguments)]) == code


def flip(path):
    """Change a byte that matters: in headers are some that nobody reads."""
    good = path.read_bytes()
    for place in range(len(good) // 4, len(good)):
        data = bytearray(good)
        data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            read_part(path)
        except (OSError, ValueError):
            return
    raise AssertionError("no byte of this part matters")


def test_verify_finds_damage_and_the_next_run_mends_it(stored, capsys):
    recipe, kept, folder = stored
    cache("verify")
    (part,) = parts_of(folder)
    count = read_rows(part)
    assert f"sound: 1 parts with {count} scores" in capsys.readouterr().out
    flip(part)
    cache("verify", code=1)
    said = capsys.readouterr().out
    assert f"lost: {count} scores;" in said
    assert str(part) in said
    assert part.with_suffix(".damaged").exists()
    assert not part.exists()
    cache("verify")
    again = qaqfilter.run(recipe, replace=True)
    assert (again.folder / "kept.jsonl").read_bytes() == kept
    assert again.models[0].cost.computed > 0
    cache("verify")


def wide_keys(path):
    table = pq.read_table(path)
    wide = pa.array([key * 2 for key in table["key"].to_pylist()], type=pa.binary(32))
    pq.write_table(table.set_column(0, "key", wide), path)


def no_rows(path):
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def impossible(**values):
    def spoil(path):
        part = read_part(path)
        for name, value in values.items():
            column = getattr(part.scores, name).copy()
            column[0] = value
            part = part._replace(
                scores=type(part.scores)(
                    **{
                        n: column if n == name else getattr(part.scores, n)
                        for n in ("logprob", "tokens", "status")
                    }
                )
            )
        with written_whole(path) as file:
            write_part(file, part)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (impossible(logprob=0.5), "1 of its"),
        (impossible(logprob=float("-inf")), "1 of its"),
        (impossible(logprob=float("nan")), "1 of its"),
        (impossible(tokens=0), "1 of its"),
        (impossible(status=99), "1 of its"),
        (impossible(status=-1), "1 of its"),
        (wide_keys, "its columns are not those of a part"),
        (no_rows, "there is no score in it"),
        (lambda path: path.write_bytes(b""), "how many cannot be told"),
    ],
)
def test_verify_finds_what_no_checksum_finds(stored, capsys, spoil, said):
    _, _, folder = stored
    (part,) = parts_of(folder)
    spoil(part)
    cache("verify", code=1)
    assert said in capsys.readouterr().out
    assert parts_of(folder) == []


def test_nulls_are_sound(tmp_path):
    with open_store(tmp_path, {"a": 1}) as store:
        store.add({key(1): NULL, **scores(0, 2)})
    cache("verify", "--store", tmp_path)


@pytest.mark.parametrize("facts", [b'{"backend": "ngr', b'{"backend": "other"}', b"[1]", b"\xff"])
def test_verify_finds_wrong_facts(stored, capsys, facts):
    recipe, _, folder = stored
    (folder / "facts.json").write_bytes(facts)
    cache("verify", code=1)
    assert "no score is lost" in capsys.readouterr().out
    cache("verify", code=1)
    assert "facts.json is missing" in capsys.readouterr().out
    report = qaqfilter.run(recipe, replace=True)
    assert report.models[0].cost.computed == 0
    cache("verify")


def test_info_says_what_is_there_and_changes_nothing(stored, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    _, _, folder = stored
    flip(put(folder, scores(1)))
    broken = put(folder, scores(2))
    broken.write_bytes(b"PAR1")
    before = files(folder)
    cache("info")
    said = capsys.readouterr().out
    assert folder.name[:12] in said
    assert "ngram, order 2, add_k 1.0, cache 0.5" in said
    assert f"{broken} cannot be read" in said.replace("\n", "")
    assert str(folder.parent) in said.replace("\n", "")
    assert files(folder) == before


def test_names_from_facts_command_no_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with open_store(tmp_path, {"backend": "\x1b[2J", "b": "[bold]x"}):
        pass
    cache("info", "--store", tmp_path)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[2J, b [bold]x" in said


def test_compact_joins_and_says_so(tmp_path, capsys):
    for n in range(3):
        with open_store(tmp_path, {"a": 1}) as store:
            store.add(scores(n, 7))
    (folder,) = upkeep.fingerprints(tmp_path)
    flip(put(folder, scores(8)))
    cache("compact", "--store", tmp_path)
    said = capsys.readouterr()
    assert "4 → 1" in said.out
    assert "is damaged" in said.err
    assert ScoreStore(folder).find(keys_of(*range(9))) == scores(0, 1, 2, 7)


def test_compacting_does_not_count_as_use(tmp_path):
    folder = old_store(tmp_path)
    put(folder, scores(3), began="0" * 20)
    used = upkeep.look(folder).used
    compact(folder)
    assert upkeep.look(folder).used == used


def test_an_empty_store_is_no_error_and_a_wrong_folder_is(tmp_path, capsys):
    for verb in ("info", "verify", "compact", "clear"):
        cache(verb)
        cache(verb, "--store", tmp_path / "none", code=2)
    assert "there is no score in" in capsys.readouterr().out


# --- clear


def old_store(root, facts=None):
    """A store that nobody has used since 1970."""
    facts = facts or {"a": 1}
    folder = root / fingerprint(facts)
    with open_store(root, facts):
        pass
    put(folder, scores(1), began="0" * 20)
    os.utime(folder / "facts.json", (1000, 1000))
    return folder


def test_clear_leaves_foreign_files_and_names_them(tmp_path, capsys):
    root = tmp_path / "store"
    folder = old_store(root)
    clean = old_store(root, {"b": 2})
    elsewhere = tmp_path / "elsewhere" / ("0" * 32)
    elsewhere.mkdir(parents=True)
    outside = put(elsewhere, scores(5))
    notes, data = folder / "notes.txt", folder / "mine.parquet"
    inside = new_path(folder)
    kept = [root / "readme", root / "folder" / "x", root / ("0" * 31) / "y", notes, data]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    try:
        (root / ("f" * 32)).symlink_to(elsewhere, target_is_directory=True)
        inside.symlink_to(outside)
    except OSError:
        pytest.skip("links need a privilege here")
    cache("clear", "--yes", "--store", root)
    said = capsys.readouterr().out
    assert all(path.read_text() == "mine" for path in kept)
    assert outside.exists() and inside.is_symlink()
    assert (root / ("f" * 32)).is_symlink()
    assert files(folder) == {"notes.txt", "mine.parquet", inside.name}
    assert not clean.exists()
    assert all(
        f"left, since it is not a file of the score store: {path}" in said for path in (notes, data)
    )
    assert "freed" in said


def test_a_foreign_parquet_is_neither_read_nor_joined(tmp_path, caplog):
    foreign = tmp_path / "mine.parquet"
    foreign.write_text("mine")
    put(tmp_path, scores(1))
    put(tmp_path, scores(2))
    compact(tmp_path)
    assert ScoreStore(tmp_path).find(keys_of(1, 2)) == scores(1, 2)
    assert foreign.read_text() == "mine"
    assert caplog.text == ""


def test_clear_by_name(tmp_path, capsys):
    first, second = (old_store(tmp_path, {"model": n}) for n in range(2))
    cache("clear", "--yes", "--store", tmp_path, "", code=2)
    cache("clear", "--yes", "--store", tmp_path, "xyz", code=2)
    assert "no fingerprint" in capsys.readouterr().err
    twin = tmp_path / (first.name[:31] + ("0" if first.name[31] != "0" else "1"))
    twin.mkdir()
    cache("clear", "--yes", "--store", tmp_path, first.name[:12], code=2)
    assert twin.name in capsys.readouterr().err
    twin.rmdir()
    cache("clear", "--yes", "--store", tmp_path, first.name[:12].upper())
    assert upkeep.fingerprints(tmp_path) == [second]


def test_clear_what_is_old(tmp_path, capsys):
    old, new = (old_store(tmp_path, {"model": n}) for n in range(2))
    with open_store(tmp_path, {"model": 1}):
        pass
    cache("clear", "--yes", "--store", tmp_path, "--older-than", 1)
    assert upkeep.fingerprints(tmp_path) == [new]
    assert not old.exists()
    cache("clear", "--yes", "--store", tmp_path, "--older-than", 1)
    assert "nothing to delete" in capsys.readouterr().out


def test_clear_what_was_moved_aside(tmp_path):
    folder = old_store(tmp_path)
    other = old_store(tmp_path, {"b": 2})
    part = put(folder, scores(4))
    flip(part)
    cache("verify", "--store", tmp_path, code=1)
    before = {path: files(path) for path in (folder, other)}
    cache("clear", "--damaged", "--yes", "--store", tmp_path)
    assert files(folder) == before[folder] - {part.with_suffix(".damaged").name}
    assert files(other) == before[other]


@pytest.mark.parametrize(("answer", "deleted"), [("y\n", True), ("n\n", False), ("", False)])
def test_clear_asks(tmp_path, answer, deleted):
    folder = old_store(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "qaqfilter", "cache", "clear", "--store", str(tmp_path)],
        input=answer,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if deleted else 1), done.stderr
    assert "Delete all scores of this model" in done.stdout
    assert ("nothing was deleted" in done.stdout) == (not deleted)
    assert folder.exists() == (not deleted)


def test_the_verb_has_its_four_subcommands():
    assert sorted(cache_group.commands) == ["clear", "compact", "info", "verify"]
