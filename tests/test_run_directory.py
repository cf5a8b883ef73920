"""A folder belongs to one run at a time, and a finished run is not lost or done again unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

import qaqfilter
from outputs import Said, visible
from qaqfilter import RunDirectoryError
from qaqfilter.cli import run_cli
from qaqfilter.manifest import changed_keys, read_manifest
from qaqfilter.run_directory import RunDirectory
from qaqfilter.run_lock import BEGUN, LOCK

RMI = "  - {id: rmi, use: rmi, keep: {fraction: 0.5}}"


def test_the_same_run_again_says_that_there_is_nothing_to_do(tmp_path, write_recipe, capsys):
    recipe = write_recipe(RMI)
    first = qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    said = Said()
    again = qaqfilter.run(recipe, observer=said)
    assert again == first
    assert [m for m in said.messages if "nothing to do" in m and str(tmp_path / "out") in m]
    assert visible(tmp_path / "out") == before
    assert run_cli(["run", str(recipe)]) == 0
    assert "nothing to do" in capsys.readouterr().err


def test_another_recipe_is_refused_with_the_keys_that_changed(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    with pytest.raises(RunDirectoryError) as caught:
        qaqfilter.run(recipe, overrides=["steps.rmi.keep.fraction=0.25", "run.window=8"], limit=5)
    assert "  steps.rmi.keep.fraction: 0.5 -> 0.25\n" in str(caught.value)
    assert "  run.window: 512 -> 8\n" in str(caught.value)
    assert "  --limit: None -> 5\n" in str(caught.value)
    assert "--replace" in str(caught.value)
    assert visible(tmp_path / "out") == before
    report = qaqfilter.run(recipe, overrides=["output.rejects=false"], replace=True)
    assert (report.kept, report.rejected) == (4, 4)
    assert "rejected.jsonl" not in visible(tmp_path / "out")


def test_keys_that_changed_go_by_the_ids_of_steps():
    old = {"a": 1, "steps": [{"id": "x", "k": {"min": 1}}, {"id": "y"}], "gone": {"b": [1]}}
    new = {"a": 1, "steps": [{"id": "y"}, {"id": "x", "k": {"min": 2}}], "more": None}
    assert list(changed_keys(old, new)) == [
        "steps.x.k.min: 1 -> 2",
        "gone.b: [1] -> absent",
        "more: absent -> null",
        "steps: x, y -> y, x",
    ]
    assert list(changed_keys(old, old)) == []


def test_input_that_changed_since_is_named(tmp_path, write_recipe):
    recipe = write_recipe(RMI, pairs=[("a", "b"), ("c", "d")], head="run: {window: 2}\n")
    # Fitted on a text of its own, the model stays the same.
    (tmp_path / "fit.txt").write_text("a b c d")
    recipe.write_text(recipe.read_text().replace("{use: ngram}", "{use: ngram, fit: [fit.txt]}"))
    qaqfilter.run(recipe)
    with (tmp_path / "data.jsonl").open("ab") as file:
        file.write(b'{"query": "e", "answer": "f"}\n')
    changed = r"data\.jsonl changed \(2 records then, 3 now\)"
    with pytest.raises(RunDirectoryError, match=changed):
        qaqfilter.run(recipe)
    said = Said()
    report = qaqfilter.run(recipe, replace=True, observer=said)
    assert [m for m in said.messages if "data.jsonl changed (2 records then, 3 now)" in m]
    assert report.read == 3
    # What was the same was not scored again.
    assert 0 < report.models[0].cost.stored < report.models[0].cost.planned
    assert not [m for m in said.messages if "changed" in m and "is new" in m]


def test_a_run_that_was_stopped_tells_the_next_one_what_it_read(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    plugin = tmp_path / "failing.py"
    plugin.write_text(
        "from qaqfilter import hookimpl\n"
        "@hookimpl\n"
        "def qaqfilter_step_finished(step, table, decisions): raise KeyboardInterrupt\n"
    )
    with pytest.raises(KeyboardInterrupt):
        qaqfilter.run(recipe, plugins=[plugin])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [BEGUN]
    data = tmp_path / "data.jsonl"
    data.write_bytes(data.read_bytes()[: -len(data.read_bytes().splitlines(True)[-1])])
    said = Said()
    assert qaqfilter.run(recipe, observer=said).read == 7
    assert [m for m in said.messages if "data.jsonl changed (8 records then, 7 now)" in m]
    assert not list((tmp_path / "out").glob(".*"))


def test_a_second_run_in_the_folder_is_refused(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    with RunDirectory(tmp_path / "out", replace=False):
        with pytest.raises(RunDirectoryError, match=r"another run .* is at work in") as caught:
            qaqfilter.run(recipe, replace=True)
        assert f"process {os.getpid()} on " in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert qaqfilter.run(recipe).kept == 4


def test_a_lock_goes_with_its_process(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    holding = (
        "import sys, time; from pathlib import Path\n"
        "from qaqfilter.run_directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1]), replace=False) as directory:\n"
        "    (directory.partial / 'kept.jsonl').write_text('half')\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", holding, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunDirectoryError, match=f"process {other.pid} on "):
            qaqfilter.run(recipe)
        other.kill()
        other.wait()
    assert (tmp_path / "out" / LOCK).exists()  # as after any kill
    assert qaqfilter.run(recipe).kept == 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "kept.jsonl",
        "rejected.jsonl",
        "quarantine.jsonl",
        "scores.parquet",
        "manifest.json",
        "README.md",
        "report.html",
    }


@pytest.mark.parametrize("moves", range(8))
def test_a_run_killed_while_it_moves_its_files_is_finished_by_the_next(
    tmp_path, write_recipe, monkeypatch, moves
):
    recipe = write_recipe(RMI)
    qaqfilter.run(recipe)
    whole = visible(tmp_path / "out")
    change = ["output.rejects=false", "steps.rmi.keep.fraction=0.25"]
    wanted = qaqfilter.run(recipe, overrides=[*change, f"output.path={tmp_path / 'other'}"])
    killed = (
        "import sys, os; from pathlib import Path\n"
        "import qaqfilter\n"
        "count, move = int(sys.argv[1]), Path.replace\n"
        "def replace(self, target):\n"
        "    global count\n"
        "    if self.parent.name == '.partial' and Path(target).parent.name == 'out':\n"
        "        if not count: os.kill(os.getpid(), 9)\n"
        "        count -= 1\n"
        "    return move(self, target)\n"
        "Path.replace = replace\n"
        "qaqfilter.run(sys.argv[2], overrides=sys.argv[3:], replace=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", killed, str(moves), str(recipe), *change], check=False
    )
    # card, kept, quarantine, report, scores, manifest
    assert done.returncode == (-9 if moves < 6 else 0)
    if done.returncode:
        assert "manifest.json" not in visible(tmp_path / "out")
    said = Said()
    report = qaqfilter.run(recipe, overrides=change, observer=said)
    assert report.kept == wanted.kept < 4
    assert [m for m in said.messages if "nothing to do" in m]
    assert not list((tmp_path / "out").glob(".*"))
    found = visible(tmp_path / "out")
    assert set(found) == set(whole) - {"rejected.jsonl"}
    for name in ("kept.jsonl", "scores.parquet"):
        assert found[name] == (tmp_path / "other" / name).read_bytes()


def test_a_manifest_of_anybody_names_no_file_elsewhere(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    qaqfilter.run(recipe)
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    precious = tmp_path / "precious"
    precious.write_text("mine")
    manifest["files"]["more"] = "../precious"
    path.write_text(json.dumps(manifest))
    with pytest.raises(RunDirectoryError, match=r"'\.\./precious' is not a file name"):
        qaqfilter.run(recipe)
    qaqfilter.run(recipe, replace=True)
    assert precious.read_text() == "mine"
    assert read_manifest(tmp_path / "out").report.kept == 4


@pytest.mark.parametrize("name", [".partial", ".partial-123", ".lock", ".begun.json"])
def test_links_planted_in_the_folder_lead_nowhere(tmp_path, write_recipe, name):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    target = elsewhere if name.startswith(".partial") else elsewhere / "mine"
    (out / name).symlink_to(target)
    recipe = write_recipe(RMI)
    if name == ".lock":
        with pytest.raises(RunDirectoryError, match="cannot write to"):
            qaqfilter.run(recipe)
    else:
        assert qaqfilter.run(recipe).kept == 4
    assert visible(elsewhere) == {"mine": b"mine"}


def test_a_finished_manifest_says_what_was_read(tmp_path, write_recipe):
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    report = qaqfilter.run(write_recipe(RMI))
    manifest = read_manifest(tmp_path / "out")
    assert manifest.report == report
    assert [(p.part, p.records, p.bad) for p in manifest.input] == [("data.jsonl", 8, 0)]
    assert manifest.order.command == "run"
    assert manifest.finished >= before
