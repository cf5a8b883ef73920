"""Recipes from Python: loaded, looked at, and run."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest

import qaqfilter

PLUGIN = """
from qaqfilter import Component, Options, hookimpl

SEEN = []

class Shortest:
    columns = ("size",)

    def measure(self, record):
        SEEN.append(record.id)
        return {"size": float(len(record.answer))}

@hookimpl
def qaqfilter_selectors():
    yield Component("shortest", Options, lambda config: Shortest(), "by size")

@hookimpl
def qaqfilter_run_finished(report):
    assert SEEN, "another copy of the plugin's module made the selector"
    (report.folder / "seen.txt").write_text(str(len(SEEN)))
"""


@pytest.fixture
def recipe_file(tmp_path, pairs):
    rows = [json.dumps({"query": query, "answer": answer}) for query, answer in pairs]
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    path = tmp_path / "r.yaml"
    path.write_text(
        "version: 1\nname: r\ninput: {use: jsonl, path: data.jsonl}\n"
        "models: {toy: {use: ngram}}\n"
        "steps:\n  - {id: sane, use: length, keep: {min: 1}}\n"
        "  - {id: ppl, use: perplexity, keep: {fraction: 0.5}}\n"
        "output: {use: jsonl, path: out}\nrun: {store: false}\n"
    )
    return path


def test_a_loaded_recipe_is_looked_at_and_run(recipe_file):
    recipe = qaqfilter.load_recipe(recipe_file, overrides=["steps.ppl.keep.fraction=0.25"])
    assert isinstance(recipe, qaqfilter.Recipe)
    assert [step.id for step in recipe.steps] == ["sane", "ppl"]
    assert qaqfilter.plan(recipe).records == 8
    assert len(qaqfilter.preview(recipe, records=3).records) == 3
    assert qaqfilter.run(recipe).kept == 2
    assert qaqfilter.run(recipe_file, replace=True).kept == 4
    assert qaqfilter.score_recipe(recipe, replace=True).kept == 2
    assert qaqfilter.select_recipe(recipe, replace=True).kept == 2


def test_a_loaded_recipe_takes_no_more_overrides(recipe_file):
    recipe = qaqfilter.load_recipe(recipe_file)
    with pytest.raises(qaqfilter.UsageError, match=r"give overrides .* to qaqfilter\.load_recipe"):
        qaqfilter.run(recipe, overrides=["steps.ppl.keep.fraction=0.25"])
    with pytest.raises(qaqfilter.UsageError, match="loaded already"):
        qaqfilter.plan(recipe, plugins=["x.py"])


def test_its_plugins_run_with_it(recipe_file, tmp_path):
    plugin = tmp_path / "plug.py"
    plugin.write_text(PLUGIN)
    recipe = qaqfilter.load_recipe(
        recipe_file, plugins=[plugin], overrides=["steps.sane={id: sane, use: shortest}"]
    )
    report = qaqfilter.run(recipe)
    assert (report.folder / "seen.txt").read_text() == "8"


def test_what_to_do_about_missing_scores_names_the_same_recipe(recipe_file, tmp_path):
    plugin = tmp_path / "plug.py"
    plugin.write_text(PLUGIN.partition("@hookimpl\ndef qaqfilter_run_finished")[0])
    qaqfilter.run(recipe_file, overrides=["steps.sane.keep.min=60"])
    loose = qaqfilter.load_recipe(
        recipe_file, plugins=[plugin], overrides=["steps.sane.keep.min=2"]
    )
    with pytest.raises(qaqfilter.NotScored) as caught:
        qaqfilter.select_recipe(loose, replace=True)
    command = f"qaqfilter run {recipe_file} --set steps.sane.keep.min=2 --plugin {plugin} --replace"
    assert command in str(caught.value)


PROGRAM = """
import sys
import qaqfilter

print(qaqfilter.run(sys.argv[1], replace=True).kept)
"""


def test_progress_is_silent_in_a_pipe(recipe_file):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, recipe_file], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("4\n", "")


def test_progress_is_shown_on_a_terminal(recipe_file):
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, recipe_file],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        told = b""
        with contextlib.suppress(OSError):  # Linux says so when the other end is closed
            while piece := os.read(ours, 4096):
                told += piece
        assert process.stdout is not None
        assert process.stdout.read() == b"4\n"
    os.close(ours)
    assert b"8/8" in told
