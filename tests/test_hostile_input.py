"""Whole runs over input that means no good: the account adds up, or one plain error says why."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import qaqfilter
from outputs import visible
from qaqfilter import (
    QaqfilterError,
    RecipeError,
    RunDirectoryError,
    SourceError,
    TooManyBadRecords,
)

GOOD = b'{"query": "add two numbers", "answer": "a + b"}\n'
LENGTH = "  - {id: len, use: length, of: answer, keep: {min: 3}}\n"
ALL = (
    LENGTH + "  - {id: rand, use: random, keep: {fraction: 0.7}}\n"
    "  - {id: rmi, use: rmi, keep: {top: 3}}\n"
)


def recipe_for(
    folder: Path, source: str = "path: data.jsonl", steps: str = LENGTH, out: str = "out"
) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(
        f"version: 1\nname: hostile\ninput: {{use: jsonl, {source}}}\n"
        f"models: {{toy: {{use: ngram}}}}\nsteps:\n{steps}\n"
        f"output: {{use: jsonl, path: {out}}}\n"
    )
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def command(recipe: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "qaqfilter", "run", str(recipe), *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


# --- on_error and max_errors

BAD = [b"not json\n", b'{"query": "Q"}\n', b"\xff\n"]


@pytest.mark.parametrize("on_error", ["quarantine", "skip"])
def test_bad_records_are_counted_and_written_or_not(tmp_path, on_error) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD + b"".join(BAD) + GOOD)
    recipe = recipe_for(tmp_path, f"path: data.jsonl, on_error: {on_error}, max_errors: 3")
    messages: list[str] = []

    class Watcher:
        def started(self, label, records) -> None: ...
        def advanced(self, records, tokens) -> None: ...
        def finished(self) -> None: ...
        def message(self, text) -> None:
            messages.append(text)

    report = qaqfilter.run(recipe, observer=Watcher())
    assert (report.read, report.kept, report.rejected, report.quarantined) == (5, 2, 0, 3)
    quarantine = tmp_path / "out" / "quarantine.jsonl"
    where = "in quarantine.jsonl" if on_error == "quarantine" else "skipped"
    assert messages[0].startswith(f"3 bad records ({where}); the first is data.jsonl:2: not JSON")
    if on_error == "skip":
        assert not quarantine.exists()
        assert "quarantine" not in report.files
        return
    said = [json.loads(line) for line in lines(quarantine)]
    assert [(entry["line"], entry["ordinal"]) for entry in said] == [(2, 1), (3, 2), (4, 3)]
    assert [entry.get("raw") for entry in said] == ["not json\n", '{"query": "Q"}\n', None]
    assert said[2]["raw_base64"] == "/wo="


@pytest.mark.parametrize("on_error", ["quarantine", "skip"])
@pytest.mark.parametrize(
    ("most", "message"),
    [("2", "data.jsonl:4: bad record number 3, more than"), ("0.59", "3 of 5 records are bad")],
)
def test_too_many_bad_records(tmp_path, on_error, most, message) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD + b"".join(BAD) + GOOD)
    recipe = recipe_for(tmp_path, f"path: data.jsonl, on_error: {on_error}, max_errors: {most}")
    done = command(recipe)
    assert done.returncode == TooManyBadRecords.exit_code == 3
    assert message in done.stderr
    out = tmp_path / "out"
    if on_error == "skip":
        assert "quarantine" not in done.stderr
        assert not out.exists()
    else:
        assert str(out / "quarantine.jsonl") in done.stderr
        assert [path.name for path in out.iterdir()] == ["quarantine.jsonl"]
        assert len(lines(out / "quarantine.jsonl")) == 3
    assert command(recipe, "--set", "input.max_errors=0.6").returncode == 0


def test_fail_ends_at_the_first_bad_record(tmp_path) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD + b"".join(BAD))
    done = command(recipe_for(tmp_path, "path: data.jsonl, on_error: fail, max_errors: 100"))
    assert done.returncode == 3
    assert "data.jsonl:2: not JSON" in done.stderr
    assert "input.on_error is fail" in done.stderr
    assert len(lines(tmp_path / "out" / "quarantine.jsonl")) == 1


def test_an_old_quarantine_does_not_pass_for_this_runs(tmp_path) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD + BAD[0])
    recipe = recipe_for(tmp_path)
    with pytest.raises(TooManyBadRecords):
        qaqfilter.run(recipe)
    quarantine = tmp_path / "out" / "quarantine.jsonl"
    assert quarantine.exists()
    assert qaqfilter.run(
        recipe, overrides=["input={use: jsonl, path: data.jsonl, on_error: skip, max_errors: 1}"]
    )
    assert not quarantine.exists()


# --- files


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("on_error", ["quarantine", "skip", "fail"])
def test_an_archive_cut_short_follows_on_error(tmp_path, suffix, on_error) -> None:
    rows = b"".join(GOOD.replace(b"two", b"%d" % (n * n * 7919)) for n in range(5000))
    whole = gzip.compress(rows) if suffix == ".gz" else zstandard.compress(rows)
    (tmp_path / f"data.jsonl{suffix}").write_bytes(whole[:-20])
    done = command(recipe_for(tmp_path, f"path: 'data.*', on_error: {on_error}"))
    assert f"data.jsonl{suffix}:" in done.stderr
    assert "the compressed data end too early, after line" in done.stderr
    assert "Traceback" not in done.stderr
    if on_error == "fail":
        assert done.returncode == 3
        return
    assert done.returncode == 0, done.stderr
    kept = lines(tmp_path / "out" / "kept.jsonl")
    assert f"read {len(kept) + 1} = kept {len(kept)} + rejected 0 + quarantined 1" in done.stdout
    assert len(kept) > 0
    assert rows.startswith(b"".join(kept))


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz", "data.jsonl.zst"])
@pytest.mark.parametrize("content", [b"", b"\n\n  \r\n", b"\xef\xbb\xbf"])
def test_an_empty_input_is_a_run_over_nothing(tmp_path, name, content) -> None:
    pack = {"jsonl": bytes, "gz": gzip.compress, "zst": zstandard.compress}[name.split(".")[-1]]
    (tmp_path / name).write_bytes(pack(content))
    report = qaqfilter.run(recipe_for(tmp_path, f"path: {name}", ALL))
    assert (report.read, report.kept, report.rejected, report.quarantined) == (0, 0, 0, 0)
    assert (tmp_path / "out" / "kept.jsonl").read_bytes() == b""


def test_a_good_file_written_elsewhere_stays_as_it_is(tmp_path) -> None:
    """A byte order mark, CRLF and no last line end: kept to the byte."""
    data = b"\xef\xbb\xbf" + GOOD[:-1] + b"\r\n" + GOOD + GOOD[:-1]
    (tmp_path / "data.jsonl").write_bytes(data)
    assert qaqfilter.run(recipe_for(tmp_path)).kept == 3
    assert (tmp_path / "out" / "kept.jsonl").read_bytes() == data


def test_nothing_matches(tmp_path) -> None:
    done = command(recipe_for(tmp_path, "path: 'data-*.jsonl'"))
    assert done.returncode == 1
    assert "no file matches" in done.stderr
    assert "data-*.jsonl" in done.stderr
    assert not visible(tmp_path / "out")


@pytest.mark.parametrize("name", ["x" * 300, "data.jsonl/more"])
def test_names_that_cannot_be(tmp_path, name) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD)
    with pytest.raises(SourceError, match=r"cannot look for .*name too long|no file matches"):
        qaqfilter.run(recipe_for(tmp_path, f"path: {name}"))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch) -> None:
    """Root may read anything, so the refusal is made up."""
    (tmp_path / "data.jsonl").write_bytes(GOOD)
    usual = Path.open

    def refuse(path, *arguments, **options):
        if path.name == "data.jsonl":
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match=r"data\.jsonl: Permission denied"):
        qaqfilter.run(recipe_for(tmp_path))
    assert not visible(tmp_path / "out")


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch) -> None:
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    recipe = recipe_for(tmp_path)
    loaded = qaqfilter.load_recipe(recipe)
    monkeypatch.setattr(Path, "exists", refuse)
    source = loaded.source.component.create(loaded.source.options)
    with pytest.raises(SourceError, match=r"cannot look for .*: Permission denied"):
        list(source.read())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf8(tmp_path) -> None:
    with open(os.fsencode(tmp_path) + b"/d\xff.jsonl", "wb") as file:  # noqa: PTH123
        file.write(GOOD + BAD[0])
    (tmp_path / "e.jsonl").write_bytes(GOOD)
    steps = "  - {id: len, use: length, of: answer, keep: {min: 100}}\n"
    report = qaqfilter.run(recipe_for(tmp_path, "path: '*.jsonl', max_errors: 1", steps))
    assert (report.rejected, report.quarantined) == (2, 1)
    for name in ("rejected", "quarantine"):
        assert json.loads(lines(report.files[name])[0])["part"] == r"d\xff.jsonl"


def test_a_file_that_grows_while_it_is_read(tmp_path) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD * 10)
    with (tmp_path / "data.jsonl").open("ab") as file:

        class Appends:
            def started(self, label, records) -> None:
                if label == "writing":
                    file.write(GOOD)
                    file.flush()

            def advanced(self, records, tokens) -> None: ...
            def finished(self) -> None: ...
            def message(self, text) -> None: ...

        with pytest.raises(SourceError, match=r"data\.jsonl: the input changed .*run again"):
            qaqfilter.run(recipe_for(tmp_path), observer=Appends())
    assert not visible(tmp_path / "out")


# --- records


def test_empty_sides_end_as_rejects_with_their_reason(tmp_path) -> None:
    rows = [("", "A"), ("Q", ""), ("", ""), ("Q", "A")]
    (tmp_path / "data.jsonl").write_text(
        "".join(json.dumps({"query": q, "answer": a}) + "\n" for q, a in rows)
    )
    report = qaqfilter.run(recipe_for(tmp_path, steps="  - {id: r, use: rmi, keep: {top: 4}}"))
    assert (report.kept, report.rejected) == (1, 3)
    reasons = {json.loads(line)["reason"] for line in lines(tmp_path / "out/rejected.jsonl")}
    assert reasons == {"empty_query", "empty_answer"}


def test_ids_that_stand_twice_are_reported(tmp_path) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD * 3)
    done = command(recipe_for(tmp_path))
    assert "1 ids stand more than once" in done.stderr
    assert done.returncode == 0
    assert lines(tmp_path / "out" / "kept.jsonl") == [GOOD] * 3
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["duplicate_ids"] == 1


# --- output


@pytest.mark.parametrize(
    "source",
    ["path: data.jsonl", "path: data.jsonl, max_errors: 0.9"],
    ids=["kept", "quarantine"],
)
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_full_disk(tmp_path, source, compression) -> None:
    """No file may grow over 20 kB: whatever meets that limit, one message, and nothing left."""
    resource = pytest.importorskip("resource")
    rows = [GOOD.replace(b"two", os.urandom(40).hex().encode()) for _ in range(2000)]
    if "max_errors" in source:
        rows[:1500] = [b"x" + row for row in rows[:1500]]
    (tmp_path / "data.jsonl").write_bytes(b"".join(rows))
    recipe = recipe_for(tmp_path, source)
    recipe.write_text(
        recipe.read_text().replace("path: out", f"path: out, compression: {compression}")
    )
    done = command(
        recipe, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    )
    assert done.returncode == RunDirectoryError.exit_code == 1, done.stderr
    assert f"cannot write to {tmp_path / 'out'}: " in done.stderr
    assert "File too large; make room, or name another folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert not visible(tmp_path / "out")


def test_a_disk_that_the_scores_fill(tmp_path) -> None:
    resource = pytest.importorskip("resource")
    rows = (GOOD.replace(b"two", os.urandom(9).hex().encode()) for _ in range(3000))
    (tmp_path / "data.jsonl").write_bytes(b"".join(rows))
    done = command(
        recipe_for(tmp_path, steps="  - {id: len, use: length, of: answer, keep: {min: 99}}"),
        "--set",
        "output.rejects=false",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert "make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert not visible(tmp_path / "out")


def test_a_disk_that_the_score_store_fills(tmp_path) -> None:
    resource = pytest.importorskip("resource")
    rows = (GOOD.replace(b"two", os.urandom(9).hex().encode()) for _ in range(800))
    (tmp_path / "data.jsonl").write_bytes(b"".join(rows))
    done = command(
        recipe_for(tmp_path, steps="  - {id: rmi, use: rmi, keep: {top: 1}}"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.returncode == 1, done.stderr
    assert "error: the score store " in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not visible(tmp_path / "out")


def test_a_full_disk_leaves_the_earlier_run_alone(tmp_path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "data.jsonl").write_bytes(GOOD)
    recipe = recipe_for(tmp_path)
    qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    (tmp_path / "data.jsonl").write_bytes(GOOD * 1000)
    done = command(
        recipe,
        "--replace",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1
    assert visible(tmp_path / "out") == before


def test_a_folder_that_may_not_be_written(tmp_path) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunDirectoryError, match="cannot write to"):
        qaqfilter.run(recipe_for(tmp_path))


@pytest.mark.parametrize(
    "files", ['["../data.jsonl", ".", "", 7]', "{}", "null", "[[]]", "not json"]
)
def test_a_manifest_that_is_not_ours_deletes_nothing(tmp_path, files) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(f'{{"files": {files}}}')
    recipe = recipe_for(tmp_path)
    with pytest.raises(RunDirectoryError, match="--replace"):
        qaqfilter.run(recipe)
    assert qaqfilter.run(recipe, replace=True).kept == 1
    assert (tmp_path / "data.jsonl").read_bytes() == GOOD


@pytest.mark.parametrize(
    ("pattern", "out"),
    [
        ("'*.jsonl'", "."),
        ("'*.jsonl'", "./x/.."),
        ("'**/*.jsonl'", "out"),
        ("'**'", "a/b"),
        ("'o*/*'", "out"),
        ("'o?t/k[e]pt*.gz'", "out"),
        ("['data.jsonl', 'out/*.zst']", "out"),
        ("out/kept.jsonl", "out"),
        ("out/quarantine.jsonl", "./out"),
        ("'link/*.jsonl'", "out"),
        ("'.hid*/*.jsonl'", ".hidden"),
        ("'.hidden/**/*.jsonl'", ".hidden"),
    ],
)
def test_a_run_never_reads_what_it_writes(tmp_path, pattern, out) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out", target_is_directory=True)
    recipe = recipe_for(tmp_path, f"path: {pattern}", out=out)
    for check in (qaqfilter.load_recipe, qaqfilter.run):
        with pytest.raises(RecipeError, match=r"recipe\.yaml:3: input\.path.*must not become its"):
            check(recipe)
    assert RecipeError.exit_code == 2


@pytest.mark.parametrize(
    ("pattern", "out"),
    [
        ("data.jsonl", "."),
        ("'data*.jsonl'", "."),
        ("'*.jsonl'", "out"),
        ("'data/**/*.jsonl'", "out"),
        ("'**/*.jsonl'", ".out"),
        ("'**/data-*'", "out/a"),
        ("out/mine.jsonl", "out"),
        ("'[d]*.jsonl'", "."),
    ],
)
def test_patterns_that_match_no_output(tmp_path, pattern, out) -> None:
    folder = tmp_path / "odd [a*] name"
    folder.mkdir()
    qaqfilter.load_recipe(recipe_for(folder, f"path: {pattern}", out=out))


# --- anything at all

ROW = st.builds(
    lambda fields: json.dumps(fields).encode(),
    st.dictionaries(
        st.sampled_from(["query", "answer", "id", "instruction", "output", "x"]),
        st.one_of(st.text(max_size=20), st.none(), st.integers(), st.floats(), st.booleans()),
        max_size=4,
    ),
)
PAIR = st.builds(
    lambda query, answer: json.dumps({"query": query, "answer": answer}).encode(),
    st.text(max_size=20),
    st.text(max_size=20),
)
LINE = st.one_of(PAIR, PAIR, ROW, st.binary(max_size=40), st.just(b"[" * 2000))
BYTES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda mark, found, end: mark + end.join(found),
        st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"]),
        st.lists(LINE, max_size=12),
        st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    ),
)


@st.composite
def files(draw) -> tuple[str, bytes]:
    """A file's end of name and its bytes: plain or packed, and then perhaps cut or damaged."""
    suffix = draw(st.sampled_from(["", ".gz", ".zst"]))
    data = draw(BYTES)
    how = draw(st.sampled_from(["whole", "whole", "cut", "damaged", "raw"]))
    if suffix and how != "raw":
        data = gzip.compress(data) if suffix == ".gz" else zstandard.compress(data)
    if how == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    if how == "damaged" and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(min_size=1, max_size=3)) + data[at + 1 :]
    return suffix, data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    file=files(),
    on_error=st.sampled_from(["quarantine", "skip", "fail"]),
    most=st.sampled_from(["1", "0.5", "0.99", "1000"]),
    limit=st.sampled_from([16, 60, 1 << 24]),
)
@example(file=(".gz", gzip.compress(GOOD * 3)[:-9]), on_error="skip", most="1", limit=1 << 24)
@example(file=("", GOOD + BAD[2] + GOOD), on_error="quarantine", most="1000", limit=48)
def test_any_bytes_are_accounted_for(tmp_path_factory, file, on_error, most, limit) -> None:
    folder = tmp_path_factory.mktemp("any")
    suffix, data = file
    (folder / f"data.jsonl{suffix}").write_bytes(data)
    keys = f"path: data.jsonl{suffix}, on_error: {on_error}, max_errors: {most}"
    recipe = recipe_for(folder, f"{keys}, max_record_bytes: {limit}", ALL)
    out = folder / "out"
    try:
        report = qaqfilter.run(recipe)
    except QaqfilterError as error:
        assert str(error)
        assert list(visible(out)) in ([], ["quarantine.jsonl"])
        return
    assert report.read == report.kept + report.rejected + report.quarantined
    written = [report.kept, report.rejected, report.quarantined * (on_error == "quarantine")]
    # CR alone ends no line: only LF does.
    found = [
        len(list(io.BytesIO((out / f"{name}.jsonl").read_bytes())))
        if (out / f"{name}.jsonl").exists()
        else 0
        for name in ("kept", "rejected", "quarantine")
    ]
    assert found == written
    if not suffix:
        assert report.read == sum(bool(row.strip()) for row in _rows(data))


def _rows(data: bytes) -> list[bytes]:
    """Lines of a plain file; a byte order mark at the beginning is no content."""
    return data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
