"""`output.path: "-"`: kept records to standard output, and nothing else there."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import qaqfilter
from outputs import Said
from qaqfilter import RecipeError, RunDirectoryError, UsageError
from qaqfilter.cli import run_cli

RMI = "  - {id: rmi, use: rmi, keep: {fraction: 0.5}}"
COMMAND = [sys.executable, "-m", "qaqfilter"]


@pytest.fixture
def recipe(write_recipe):
    path = write_recipe(RMI)
    path.write_text(path.read_text().replace("path: out}", 'path: "-"}'))
    return path


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders go, so that a test can see whether any is left."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


def kept(recipe: Path, tmp_path: Path, *changes: str) -> Path:
    """The folder of the same run, done in a folder."""
    out = tmp_path / "compared"
    qaqfilter.run(recipe, overrides=[f"output.path={out}", *changes])
    return out


def test_kept_records_alone_are_on_standard_output(recipe, tmp_path, scratch):
    done = subprocess.run([*COMMAND, "run", recipe], capture_output=True, check=True)
    assert done.stdout == (kept(recipe, tmp_path) / "kept.jsonl").read_bytes()
    assert done.stdout.count(b"\n") == 4
    told = done.stderr.decode()
    assert "read 8 = kept 4 + rejected 4 + quarantined 0" in told
    assert "manifest" not in told
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "compared",
        "data.jsonl",
        "recipe.yaml",
        "scratch",
    ]


def test_a_lone_dash_on_the_command_line_is_enough(write_recipe, scratch):
    command = [*COMMAND, "run", write_recipe(RMI), "--set", "output.path=-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == 4


def test_a_reader_that_has_had_enough_is_no_error(recipe, tmp_path, scratch):
    # More than a pipe holds, so that the reader is gone before all is written.
    lines = [{"query": f"q {n}", "answer": "a" * 1000} for n in range(400)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shell = f"set -o pipefail; {' '.join(COMMAND)} run {recipe} | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False)
    assert json.loads(done.stdout)["answer"] == "a" * 1000
    assert done.returncode == 0
    assert "Broken" not in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_exit_codes_stay(recipe, tmp_path, scratch):
    (tmp_path / "data.jsonl").write_text("no record\n")
    done = subprocess.run([*COMMAND, "run", recipe], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    (tmp_path / "data.jsonl").unlink()
    done = subprocess.run([*COMMAND, "run", recipe], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


def test_bad_records_are_counted_and_the_first_is_named(recipe, tmp_path, scratch):
    with (tmp_path / "data.jsonl").open("a") as file:
        file.write("no record\n")
    said, out = Said(), io.BytesIO()
    report = qaqfilter.run(recipe, overrides=["input.max_errors=1"], observer=said, stdout=out)
    assert (report.kept, report.quarantined, report.files) == (4, 1, {})
    assert [m for m in said.messages if m.startswith("1 bad records (skipped); the first is data")]
    assert len(out.getvalue().splitlines()) == 4


@pytest.mark.parametrize("use", ["json", "csv", "parquet"])
def test_other_formats_go_there_too(recipe, tmp_path, scratch, use):
    out = io.BytesIO()
    qaqfilter.run(recipe, overrides=[f"output.use={use}"], stdout=out)
    wanted = kept(recipe, tmp_path, f"output.use={use}") / f"kept.{use}"
    if use == "parquet":
        assert pq.read_table(io.BytesIO(out.getvalue())) == pq.read_table(wanted)
    else:
        assert out.getvalue() == wanted.read_bytes()


def test_json_and_the_records_do_not_share_standard_output(recipe, scratch, capfd):
    assert run_cli(["run", str(recipe), "--json"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "leave out --json" in err


def test_from_python_a_stream_has_to_be_named(recipe, scratch):
    with pytest.raises(UsageError, match="hand over `stdout`"):
        qaqfilter.run(recipe)


def test_a_closed_standard_output_is_told(recipe, scratch):
    shell = f"{' '.join(COMMAND)} run {recipe} >&-"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"standard output, which is taken or closed" in done.stderr


@pytest.mark.parametrize("verb", ["score", "select"])
def test_other_verbs_need_a_folder(recipe, scratch, capsys, verb):
    assert run_cli([verb, str(recipe)]) == 2
    told = capsys.readouterr().err
    assert f"`qaqfilter {verb}` works in a run directory: name a folder with --set" in told


def test_plan_and_preview_write_nothing_anyway(recipe, scratch):
    assert qaqfilter.plan(recipe).models[0].speed is None
    assert qaqfilter.preview(recipe, records=2)


def test_shards_are_refused(recipe, scratch):
    with pytest.raises(RecipeError, match=r"output\.shard_rows: standard output .* one file"):
        qaqfilter.load_recipe(recipe, overrides=["output.shard_rows=2"])


SINK = """
from qaqfilter import Component, Options, hookimpl

class Several:
    def __init__(self, config, folder):
        for name in {names!r}:
            (folder / name).write_text("x")

    def keep(self, record): ...
    def reject(self, record, rejection): ...
    def close(self): ...

@hookimpl
def qaqfilter_sinks():
    yield Component("several", Options, Several, "files of any name")
"""


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["kept.a", "kept.b"], r"one file of kept records, and beside kept\.a there is kept\.b"),
        (["other"], r"this output writes no kept\.\*"),
    ],
)
def test_a_sink_of_a_plugin_has_one_file_for_it(recipe, tmp_path, scratch, names, said):
    plugin = tmp_path / "several.py"
    plugin.write_text(SINK.format(names=names))
    change = ["output.use=several"]
    with pytest.raises(RunDirectoryError, match=said):
        qaqfilter.run(recipe, overrides=change, plugins=[plugin], stdout=io.BytesIO())


def test_a_full_disk_at_the_other_end_is_an_error(recipe, scratch):
    with Path("/dev/full").open("wb") as full:
        command = [*COMMAND, "run", recipe]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
