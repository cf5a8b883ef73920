"""A run directory at an address: the same guarantees as in a folder, against a real S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import qaqfilter
from outputs import Said, visible
from qaqfilter import RecipeError, RunDirectoryError
from qaqfilter.addresses import Address, without_credentials
from qaqfilter.cli import run_cli
from qaqfilter.run_directory import RunDirectory
from qaqfilter.run_places import Elsewhere, Folder, place_of
from s3_server import forget, s3_server

RMI = "  - {id: rmi, use: rmi, keep: {fraction: 0.5}}"
OUT = "s3://bucket/runs/out/"
NAMES = {
    "README.md",
    "kept.jsonl",
    "manifest.json",
    "quarantine.jsonl",
    "rejected.jsonl",
    "report.html",
    "scores.parquet",
}


@pytest.fixture(scope="module")
def server():
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, server):
    """An empty bucket, a cache of the test's own, and nothing remembered."""
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path / "cache"))
    system = server.system()
    if found := system.find("bucket"):
        system.rm(found)
    forget()
    return tmp_path / "cache"


@pytest.fixture
def recipe(write_recipe):
    path = write_recipe(RMI)
    path.write_text(path.read_text().replace("path: out}", f"path: {OUT}}}"))
    return path


def files(server) -> dict[str, bytes]:
    return server.files("bucket/runs/out")


def desks(cache: Path) -> list[Path]:
    folder = cache / "runs"
    return list(folder.iterdir()) if folder.exists() else []


def test_a_run_leaves_there_what_it_would_leave_in_a_folder(server, recipe, tmp_path, cache):
    report = qaqfilter.run(recipe)
    there = files(server)
    assert set(there) == NAMES
    qaqfilter.run(recipe, overrides=[f"output.path={tmp_path / 'here'}"])
    here = visible(tmp_path / "here")
    timed = {"manifest.json", "report.html"}  # these tell how long it took
    assert {n: there[n] for n in NAMES - timed} == {n: here[n] for n in NAMES - timed}
    assert report.folder == "s3://bucket/runs/out"
    assert isinstance(report.folder, Address)
    assert report.files["kept"] == "s3://bucket/runs/out/kept.jsonl"
    assert report.files["kept"].read_bytes() == there["kept.jsonl"]
    assert json.loads(there["manifest.json"])["recipe"]["output"]["path"] == OUT
    assert desks(cache) == []


def test_the_same_run_again_has_nothing_to_do(server, recipe, capsys):
    first = qaqfilter.run(recipe)
    before = files(server)
    said = Said()
    assert qaqfilter.run(recipe, observer=said) == first
    assert [m for m in said.messages if m.startswith("s3://bucket/runs/out holds this very run")]
    assert files(server) == before
    assert run_cli(["run", str(recipe), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"]["kept"].startswith("s3://bucket/")


def test_another_recipe_is_refused_and_replace_removes_what_is_stale(server, recipe):
    qaqfilter.run(recipe)
    before = files(server)
    change = ["steps.rmi.keep.fraction=0.25", "output.rejects=false", "output.use=parquet"]
    with pytest.raises(RunDirectoryError, match=r"s3://bucket/runs/out holds .* another recipe"):
        qaqfilter.run(recipe, overrides=change)
    assert files(server) == before
    assert qaqfilter.run(recipe, overrides=change, replace=True).kept == 2
    assert set(files(server)) == NAMES - {"kept.jsonl", "rejected.jsonl"} | {"kept.parquet"}


def test_input_that_changed_is_named(recipe, tmp_path):
    qaqfilter.run(recipe)
    with (tmp_path / "data.jsonl").open("ab") as file:
        file.write(b'{"query": "e", "answer": "f"}\n')
    with pytest.raises(RunDirectoryError, match=r"data\.jsonl changed \(8 records then, 9 now\)"):
        qaqfilter.run(recipe)


def test_select_works_from_a_run_that_is_elsewhere(server, recipe, tmp_path):
    qaqfilter.score_recipe(recipe)
    assert set(files(server)) == NAMES - {"README.md", "kept.jsonl", "rejected.jsonl"}
    change = ["steps.rmi.keep.fraction=0.25"]
    assert qaqfilter.select_recipe(recipe, overrides=change, write=False).kept == 2
    here = [f"output.path={tmp_path / 'here'}"]
    taken = qaqfilter.select_recipe(recipe, overrides=[*change, *here], scores=OUT)
    assert taken.kept == 2
    report = qaqfilter.select_recipe(recipe, overrides=change, replace=True)
    assert report.folder == "s3://bucket/runs/out"
    assert set(files(server)) == NAMES
    assert files(server)["kept.jsonl"] == (tmp_path / "here" / "kept.jsonl").read_bytes()
    assert run_cli(["select", str(recipe), "--scores", OUT, "--dry-run"]) == 0
    there = qaqfilter.select_recipe(recipe, overrides=change)  # nothing to do
    assert there == report


def test_select_says_where_there_are_no_numbers(recipe):
    with pytest.raises(RunDirectoryError, match=r"in s3://bucket/none there is no finished run"):
        qaqfilter.select_recipe(recipe, scores="s3://bucket/none")
    qaqfilter.run(recipe, overrides=["output.scores=false"])
    with pytest.raises(RunDirectoryError, match=r"in s3://bucket/runs/out there is a run without"):
        qaqfilter.select_recipe(recipe, scores=OUT, write=False)


def test_plan_takes_the_speed_of_a_run_that_is_elsewhere(recipe):
    assert qaqfilter.plan(recipe).models[0].speed is None
    qaqfilter.run(recipe)
    assert qaqfilter.plan(recipe).models[0].speed > 0


def test_an_upload_that_fails_is_finished_by_the_next_command(server, recipe, cache, monkeypatch):
    qaqfilter.run(recipe, overrides=["output.card=false"])
    change = ["steps.rmi.keep.fraction=0.25", "output.rejects=false"]
    publish = RunDirectory.publish

    def without_server(self, manifest):
        server.stop()
        publish(self, manifest)

    monkeypatch.setattr(RunDirectory, "publish", without_server)
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with pytest.raises(RunDirectoryError) as caught:
        qaqfilter.run(recipe, overrides=change, replace=True)
    monkeypatch.undo()
    monkeypatch.setenv("QAQFILTER_CACHE", str(cache))
    server.start()
    (desk,) = desks(cache)
    told = str(caught.value)
    assert told.startswith("cannot ") and "s3://bucket/runs/out: " in told
    assert f"the run is finished and waits in {desk}: the same command uploads it" in told
    said = Said()
    assert qaqfilter.run(recipe, overrides=change, observer=said).kept == 2
    assert [m for m in said.messages if "nothing to do" in m]
    assert set(files(server)) == NAMES - {"rejected.jsonl"}
    assert json.loads(files(server)["manifest.json"])["kept"] == 2
    assert desks(cache) == []


@pytest.mark.parametrize("uploads", [0, 3, 5, 6])
def test_a_run_killed_between_two_uploads_is_never_called_finished(server, recipe, cache, uploads):
    qaqfilter.run(recipe)
    change = ["steps.rmi.keep.fraction=0.25", "output.rejects=false"]
    killed = (
        "import os, sys\n"
        "import qaqfilter\n"
        "from qaqfilter.run_places import Elsewhere\n"
        "count, put = int(sys.argv[1]), Elsewhere.put\n"
        "def counted(self, file):\n"
        "    global count\n"
        "    if not count: os.kill(os.getpid(), 9)\n"
        "    count -= 1\n"
        "    put(self, file)\n"
        "Elsewhere.put = counted\n"
        "qaqfilter.run(sys.argv[2], overrides=sys.argv[3:], replace=True)\n"
    )
    command = [sys.executable, "-c", killed, str(uploads), str(recipe), *change]
    done = subprocess.run(command, check=False, env=os.environ)
    assert done.returncode == (-9 if uploads < 6 else 0)
    if done.returncode:
        assert "manifest.json" not in files(server)
        assert "rejected.jsonl" not in files(server)
        with pytest.raises(RunDirectoryError, match="no finished run"):
            qaqfilter.select_recipe(recipe, overrides=change, write=False)
    said = Said()
    assert qaqfilter.run(recipe, overrides=change, observer=said).kept == 2
    assert [m for m in said.messages if "nothing to do" in m]
    assert set(files(server)) == NAMES - {"rejected.jsonl"}
    assert files(server)["kept.jsonl"].count(b"\n") == 2
    assert desks(cache) == []


def test_what_arrives_short_is_not_published(server, recipe, cache, monkeypatch):
    import s3fs

    put = s3fs.S3FileSystem.put_file

    def short(self, source, target, **options):
        put(self, source, target, **options)
        if target.endswith("kept.jsonl"):
            self.pipe_file(target, b"half")

    monkeypatch.setattr(s3fs.S3FileSystem, "put_file", short)
    with pytest.raises(RunDirectoryError, match=r"of kept\.jsonl 4 bytes arrived, and it has"):
        qaqfilter.run(recipe)
    monkeypatch.setattr(s3fs.S3FileSystem, "put_file", put)
    assert "manifest.json" not in files(server)
    qaqfilter.run(recipe)
    assert len(files(server)["kept.jsonl"].splitlines()) == 4


def test_a_run_that_was_stopped_goes_on_from_its_desk(recipe, tmp_path, cache):
    plugin = tmp_path / "failing.py"
    plugin.write_text(
        "from qaqfilter import hookimpl\n"
        "@hookimpl\n"
        "def qaqfilter_step_finished(step, table, decisions): raise KeyboardInterrupt\n"
    )
    with pytest.raises(KeyboardInterrupt):
        qaqfilter.run(recipe, plugins=[plugin])
    (desk,) = desks(cache)
    assert [path.name for path in desk.iterdir()] == [".begun.json"]
    (tmp_path / "data.jsonl").write_text('{"query": "e", "answer": "f"}\n')
    said = Said()
    qaqfilter.run(recipe, observer=said)
    assert [m for m in said.messages if "data.jsonl changed (8 records then, 1 now)" in m]


def test_a_second_run_on_this_machine_is_refused(recipe):
    with RunDirectory(place_of(OUT), replace=False):
        with pytest.raises(RunDirectoryError, match=r"another run .* at work in s3://bucket/runs"):
            qaqfilter.run(recipe, replace=True)
        assert qaqfilter.run(recipe, overrides=["output.path=s3://bucket/other"]).kept == 4


def test_files_that_no_run_left_are_not_overwritten(server, recipe):
    server.system().pipe_file("bucket/runs/out/kept.jsonl", b"mine")
    with pytest.raises(RunDirectoryError, match=r"s3://bucket/runs/out/kept\.jsonl is there"):
        qaqfilter.run(recipe)
    server.system().mv("bucket/runs/out/kept.jsonl", "bucket/runs/out/README.md")
    with pytest.raises(RunDirectoryError, match=r"s3://bucket/runs/out/README\.md is there"):
        qaqfilter.run(recipe)
    assert files(server) == {"README.md": b"mine"}
    assert qaqfilter.run(recipe, overrides=["output.card=false"]).kept == 4
    assert files(server)["README.md"] == b"mine"


def test_too_many_bad_records_leave_the_quarantine(server, recipe, tmp_path):
    (tmp_path / "data.jsonl").write_text("no record\n")
    with pytest.raises(qaqfilter.TooManyBadRecords, match=r"see s3://bucket/runs/out/quarantine"):
        qaqfilter.run(recipe)
    assert set(files(server)) == {"quarantine.jsonl"}


def test_parquet_shards_go_there_too(server, recipe, tmp_path):
    qaqfilter.run(recipe, overrides=["output.use=parquet", "output.shard_rows=3"])
    there = files(server)
    assert {n for n in there if n.startswith("kept")} == {
        "kept-00000.parquet",
        "kept-00001.parquet",
    }
    (tmp_path / "x.parquet").write_bytes(there["kept-00000.parquet"])
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 3


def test_a_folder_is_uploaded_and_replaced_with_all_that_is_in_it(server, tmp_path):
    place = place_of(OUT)
    for name in ("a.arrow", "b.arrow"):
        folder = tmp_path / "kept"
        folder.mkdir()
        (folder / name).write_bytes(b"rows")
        place.put(folder)
        assert not folder.exists()
        assert set(files(server)) == {name}
    place.remove("kept")
    place.remove("never there")
    assert files(server) == {}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://nobody/out", "s3://nobody/out: there is no bucket 'nobody'; make it, or name"),
        ("https://example.org/out", "https://example.org/out: files there can only be read"),
        ("nix://x/out", "output.path: nix://x/out: Protocol not known: nix"),
    ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_places_where_nothing_can_be_written_are_told_before_anything_is_read(
    recipe, address, said, replace
):
    watcher, where = Said(), [f"output.path={address}"]
    with pytest.raises(RunDirectoryError) as caught:
        qaqfilter.run(recipe, overrides=where, observer=watcher, replace=replace)
    assert str(caught.value).startswith(said)
    assert watcher.messages == []


def test_a_server_that_does_not_answer_is_told_with_its_address(recipe, monkeypatch):
    def silent(*_, **__):
        raise RuntimeError("no\nanswer")

    monkeypatch.setattr("s3fs.S3FileSystem.ls", silent)
    for replace in (False, True):
        with pytest.raises(RunDirectoryError, match="cannot read from s3://bucket/runs/out: no an"):
            qaqfilter.run(recipe, replace=replace)


def test_credentials_are_never_shown():
    assert without_credentials("ftp://me:secret@host/x@y") == "ftp://host/x@y"
    assert without_credentials("sftp://me@host/x") == "sftp://host/x"
    assert without_credentials("https://host/x?sig=secret") == "https://host/x"
    assert without_credentials("abfs://box@account.example/x") == "abfs://box@account.example/x"
    assert without_credentials("hf://datasets/me/set@main/x") == "hf://datasets/me/set@main/x"
    assert without_credentials("/a@b?c") == "/a@b?c"


def test_credentials_stay_out_of_messages_and_manifests(recipe, tmp_path, manager):
    loaded = qaqfilter.load_recipe(recipe, overrides=["output.path=ftp://me:secret@host/x"])
    assert loaded.output.path == "ftp://me:secret@host/x"
    assert loaded.resolved()["output"]["path"] == "ftp://host/x"
    with pytest.raises(RecipeError) as caught:
        qaqfilter.load_recipe(recipe, overrides=["run.store=ftp://me:secret@host/x"])
    assert "ftp://host/x: this must be a path of this machine" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_store_of_scores_is_on_this_machine(recipe, monkeypatch, capsys):
    monkeypatch.setenv("QAQFILTER_STORE", "s3://bucket/scores")
    assert run_cli(["run", str(recipe)]) == 1
    assert "QAQFILTER_STORE must be a folder of this machine" in capsys.readouterr().err


def test_a_run_that_would_read_what_it_writes_there_is_refused(recipe):
    for pattern in ("s3://bucket/runs/out/*.jsonl", "s3://bucket/runs/*/kept.jsonl"):
        with pytest.raises(RecipeError, match=r"own files in output\.path \(s3://bucket/runs/out"):
            qaqfilter.load_recipe(recipe, overrides=[f"input.path={pattern}"])
    qaqfilter.load_recipe(recipe, overrides=["input.path=s3://bucket/data/*.jsonl"])


@pytest.mark.parametrize("key", ["input", "output"])
def test_no_variable_is_sent_to_an_address(recipe, monkeypatch, key):
    monkeypatch.setenv("SECRET", "not-yours")
    with pytest.raises(RecipeError, match=rf"{key}\.path: in an address no") as caught:
        qaqfilter.load_recipe(recipe, overrides=[f"{key}.path=s3://bucket/${{SECRET}}"])
    assert "not-yours" not in str(caught.value)


def test_init_names_an_address_as_it_is(write_recipe, tmp_path):
    write_recipe(RMI)
    recipe = tmp_path / "new.yaml"
    command = ["init", str(tmp_path / "data.jsonl"), "-o", str(recipe), "--output", OUT]
    assert run_cli(command) == 0
    assert qaqfilter.load_recipe(recipe).output.path == OUT


def test_other_file_systems_make_their_folders(tmp_path):
    place = place_of(f"file://{tmp_path}/a/b")
    assert isinstance(place, Elsewhere)
    assert isinstance(place_of(tmp_path), Folder)
    (tmp_path / "x").write_bytes(b"1")
    assert place.names() == set()
    place.put(tmp_path / "x")
    assert place.names() == {"x"}
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"1"
