"""What a run stands on beside recipe and input: files that options name, and plugins' code."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

import qaqfilter
from outputs import Said, visible
from qaqfilter import RecipeError, RunDirectoryError
from qaqfilter.grounds import changes, grounds_of
from qaqfilter.manager import load_plugins
from qaqfilter.manifest import read_manifest
from qaqfilter.recipe import load_recipe
from qaqfilter.reopening import reopened
from qaqfilter.stamps import stamped, stamps_differ

RMI = "  - {id: rmi, use: rmi, keep: {fraction: 0.5}}"

PLUGIN = '''
from pathlib import Path

import numpy as np
from qaqfilter import Component, Options, RecipePath, hookimpl


class WordsOptions(Options):
    """Options of `words`."""

    lists: dict[str, RecipePath]


class Measured:
    """Words of the query that a list has."""

    columns = ("words",)

    def __init__(self, config):
        files = config.lists.values()
        self.words = {w for file in files for w in Path(file).read_text().split()}

    def measure(self, record):
        return {"words": float(len(self.words & set(record.query.split())))}


class Scored:
    """As many as there are in the list, for every record."""

    columns = ("words",)
    needs = ()

    def __init__(self, config):
        self.words = Measured(config).words

    def score(self, table):
        return {"words": np.full(len(table), float(len(self.words)))}


@hookimpl
def qaqfilter_selectors():
    """Offer both."""
    yield Component("measured", WordsOptions, Measured, "words of a list")
    yield Component("scored", WordsOptions, Scored, "how long a list is")
'''


@pytest.fixture
def recipe(tmp_path, write_recipe) -> Path:
    """A model that is fitted on a file of its own."""
    path = write_recipe(RMI)
    (tmp_path / "fit.txt").write_text("add two numbers")
    path.write_text(path.read_text().replace("{use: ngram}", "{use: ngram, fit: [fit.txt]}"))
    return path


def touched(path: Path) -> None:
    """The same content, changed an hour later."""
    later = path.stat().st_mtime_ns + 3_600_000_000_000
    os.utime(path, ns=(later, later))


def nothing_to_do(call, recipe, **more) -> bool:
    said = Said()
    call(recipe, observer=said, **more)
    return any("nothing to do" in message for message in said.messages)


def without_grounds(folder: Path) -> None:
    """The manifest as an earlier version wrote it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["grounds"]
    path.write_text(json.dumps(manifest))


def test_a_file_that_changed_makes_it_another_run(tmp_path, recipe):
    qaqfilter.run(recipe)
    fit = tmp_path / "fit.txt"
    assert nothing_to_do(qaqfilter.run, recipe)
    fit.write_text("add two numbers and more")
    before = visible(tmp_path / "out")
    with pytest.raises(RunDirectoryError) as caught:
        qaqfilter.run(recipe)
    assert "a finished run of this recipe, and what it stands on has changed" in str(caught.value)
    assert f"  models.toy.fit: {fit} changed (15 bytes then, 24 now)\n" in str(caught.value)
    assert "--replace" in str(caught.value)
    assert visible(tmp_path / "out") == before
    qaqfilter.run(recipe, replace=True)
    assert nothing_to_do(qaqfilter.run, recipe)


def test_as_many_other_bytes_are_a_change_too(tmp_path, recipe):
    qaqfilter.run(recipe)
    (tmp_path / "fit.txt").write_text("sum two numbers")
    touched(tmp_path / "fit.txt")
    with pytest.raises(RunDirectoryError, match=r"fit\.txt changed \(as long as it was\)"):
        qaqfilter.run(recipe)


def test_a_copy_with_another_time_is_the_same_file(tmp_path, recipe):
    qaqfilter.run(recipe)
    touched(tmp_path / "fit.txt")
    assert nothing_to_do(qaqfilter.run, recipe)
    assert nothing_to_do(qaqfilter.select_recipe, recipe)


def test_a_changed_recipe_and_a_changed_file_are_told_together(tmp_path, recipe):
    qaqfilter.run(recipe)
    (tmp_path / "fit.txt").write_text("other")
    with pytest.raises(RunDirectoryError) as caught:
        qaqfilter.run(recipe, overrides=["steps.rmi.keep.fraction=0.25"])
    assert "a finished run of another recipe:" in str(caught.value)
    assert "steps.rmi.keep.fraction: 0.5 -> 0.25" in str(caught.value)
    assert "fit.txt changed" in str(caught.value)


@pytest.mark.parametrize("first", ["run", "score_recipe"])
@pytest.mark.parametrize("write", [True, False], ids=["written", "dry"])
def test_a_selection_refuses_numbers_of_another_file(tmp_path, recipe, first, write):
    getattr(qaqfilter, first)(recipe)
    before = visible(tmp_path / "out")
    (tmp_path / "fit.txt").write_text("something else")
    with pytest.raises(RunDirectoryError) as caught:
        qaqfilter.select_recipe(recipe, write=write)
    assert re.search(r"models\.toy\.fit: .*fit\.txt changed \(15 bytes then", str(caught.value))
    assert f"score anew with: qaqfilter run {recipe} --replace" in str(caught.value)
    assert visible(tmp_path / "out") == before


def test_a_selection_elsewhere_remembers_what_scored(tmp_path, recipe):
    qaqfilter.score_recipe(recipe)
    other = {"overrides": [f"output.path={tmp_path / 'chosen'}"], "scores": tmp_path / "out"}
    qaqfilter.select_recipe(recipe, **other)
    scored, chosen = read_manifest(tmp_path / "out"), read_manifest(tmp_path / "chosen")
    assert chosen.grounds == scored.grounds
    assert [named.option for named in chosen.grounds.files] == ["models.toy.fit"]
    (tmp_path / "fit.txt").write_text("something else")
    with pytest.raises(RunDirectoryError, match="score anew with"):
        qaqfilter.select_recipe(recipe, **other)


def test_without_a_note_nothing_is_compared(tmp_path, recipe):
    qaqfilter.run(recipe)
    without_grounds(tmp_path / "out")
    (tmp_path / "fit.txt").write_text("something else")
    assert nothing_to_do(qaqfilter.run, recipe)
    qaqfilter.select_recipe(recipe, replace=True)
    # A selection cannot say what an earlier version read.
    assert read_manifest(tmp_path / "out").grounds.files == ()


def test_a_run_that_was_stopped_goes_on(tmp_path, recipe, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("qaqfilter.engine._write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            qaqfilter.run(recipe)
    report = qaqfilter.run(recipe)
    assert report.models[0].cost.computed == 0
    assert nothing_to_do(qaqfilter.run, recipe)


def test_a_model_on_this_machine_is_a_file_too(tmp_path, manager, recipe, monkeypatch):
    """Backends' model locations, as far as they are paths."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345678")
    (folder / ".lock").write_text("")
    text = recipe.read_text().replace(
        "{use: ngram, fit: [fit.txt]}", "{use: reference, model: model}"
    )
    recipe.write_text(text)
    loaded = load_recipe(recipe, manager)
    grounds = grounds_of(loaded, None)
    assert [named.option for named in grounds.files] == ["models.toy.model"]
    assert sorted(grounds.files[0].files) == ["config.json", "model.safetensors"]
    (folder / "model.safetensors").write_bytes(b"87654321")
    touched(folder / "model.safetensors")
    (folder / "more.json").write_text("{}")
    (folder / "config.json").unlink()
    assert changes(grounds, loaded, of_scores=True).files == [
        f"models.toy.model: {folder / 'config.json'} is gone",
        f"models.toy.model: {folder / 'model.safetensors'} changed (as long as it was)",
        f"models.toy.model: {folder / 'more.json'} is new",
    ]
    shutil.rmtree(folder)
    assert changes(grounds, loaded, gone=False).files == []
    assert changes(grounds, loaded).files == [
        f"models.toy.model: {folder} is gone, or cannot be read"
    ]


def test_what_has_the_same_size_and_time_is_not_read_again(tmp_path, monkeypatch):
    file = tmp_path / "large.gguf"
    file.write_bytes(b"GGUF")
    before = stamped(file, {})
    monkeypatch.setattr("hashlib.file_digest", lambda *_: 1 / 0)
    assert stamped(file, before) == before
    touched(file)
    with pytest.raises(ZeroDivisionError):
        stamped(file, before)


def test_all_parts_of_a_split_model_count(tmp_path):
    parts = [tmp_path / f"m-{number:05}-of-00002.gguf" for number in (1, 2)]
    for part in parts:
        part.write_bytes(b"GGUF")
    before = stamped(parts[0], {})
    parts[1].write_bytes(b"GGUF, longer")
    differ = list(stamps_differ(parts[0], before, stamped(parts[0], before)))
    assert differ == [f"{parts[1]} changed (4 bytes then, 12 now)"]


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert stamped(tmp_path / "pipe", {}) is None
    assert stamped(tmp_path, {}) == {}


# --- plugins ---------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path, write_recipe) -> tuple[Path, Path]:
    """A recipe with the two selectors of a plugin file, and that file."""
    plugin = tmp_path / "words.py"
    plugin.write_text(PLUGIN)
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text("add two numbers")
    return write_recipe(
        "  - {id: m, use: measured, lists: {a: one.txt}, keep: {min: 1}}\n"
        "  - {id: s, use: scored, lists: {b: two.txt}, keep: {min: 1}}"
    ), plugin


def test_a_plugin_file_that_changed_makes_it_another_run(tmp_path, listed):
    recipe, plugin = listed
    qaqfilter.run(recipe, plugins=[plugin])
    assert nothing_to_do(qaqfilter.run, recipe, plugins=[plugin])
    plugin.write_text(PLUGIN + "# more\n")
    with pytest.raises(RunDirectoryError) as caught:
        qaqfilter.run(recipe, plugins=[plugin])
    assert "  selector measured: the code of --plugin words.py changed\n" in str(caught.value)
    assert "--replace" in str(caught.value)
    said = Said()
    qaqfilter.select_recipe(recipe, plugins=[plugin], replace=True, observer=said)
    told = [message for message in said.messages if "of a plugin that has changed" in message]
    # What `score` makes of numbers is made anew by a selection; what was measured is not.
    assert len(told) == 1
    assert "selector measured: the code" in told[0]
    assert "score anew with: qaqfilter run" in told[0]


def test_a_plugin_file_may_move(tmp_path, listed):
    recipe, plugin = listed
    qaqfilter.run(recipe, plugins=[plugin])
    (tmp_path / "else").mkdir()
    moved = shutil.move(plugin, tmp_path / "else" / plugin.name)
    assert nothing_to_do(qaqfilter.run, recipe, plugins=[moved])


def test_another_version_of_a_plugin_is_told(tmp_path, listed):
    recipe, plugin = listed
    qaqfilter.run(recipe, plugins=[plugin])
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for code in manifest["grounds"]["plugins"].values():
        code["distribution"] = "words 1.0"
    path.write_text(json.dumps(manifest))
    with pytest.raises(RunDirectoryError, match=r"selector scored: words 1\.0 -> --plugin words"):
        qaqfilter.run(recipe, plugins=[plugin])


def test_all_of_an_installed_plugins_package_counts(tmp_path, listed, monkeypatch):
    """As of one that is installed so that it can be edited: its version stays."""
    recipe, plugin = listed
    package = tmp_path / "installed" / "listed_words"
    package.mkdir(parents=True)
    plugin.rename(package / "__init__.py")
    (package / "help.py").write_text("more = 1\n")
    monkeypatch.syspath_prepend(package.parent)
    manager = load_plugins()
    manager.register(importlib.import_module("listed_words"), "words", "listed-words 1.0")
    loaded = load_recipe(recipe, manager)
    grounds = grounds_of(loaded, None)
    assert {*grounds.plugins} == {"selector measured", "selector scored"}
    assert changes(grounds, loaded).plugins == []
    (package / "help.py").write_text("more = 2\n")
    assert changes(grounds, loaded).plugins == [
        "selector measured: the code of listed-words 1.0 changed",
        "selector scored: the code of listed-words 1.0 changed",
    ]
    assert changes(grounds, loaded, of_scores=True).plugins == [
        "selector measured: the code of listed-words 1.0 changed"
    ]


def test_bundled_plugins_are_not_compared(tmp_path, recipe):
    qaqfilter.run(recipe)
    assert read_manifest(tmp_path / "out").grounds.plugins == {}


@pytest.mark.parametrize(("file", "option"), [("one.txt", "steps.m.lists"), ("two.txt", None)])
def test_a_selection_refuses_what_it_does_not_compute_anew(tmp_path, listed, file, option):
    recipe, plugin = listed
    qaqfilter.score_recipe(recipe, plugins=[plugin])
    (tmp_path / file).write_text("a")
    if option is None:
        report = qaqfilter.select_recipe(recipe, plugins=[plugin])
        assert report.read == 8
        qaqfilter.select_recipe(recipe, plugins=[plugin])
        (tmp_path / file).write_text("a b")
        with pytest.raises(RunDirectoryError, match=r"steps\.s\.lists: .*two\.txt changed"):
            qaqfilter.select_recipe(recipe, plugins=[plugin])
        assert qaqfilter.select_recipe(recipe, plugins=[plugin], replace=True).read == 8
    else:
        with pytest.raises(RunDirectoryError, match=rf"{option}: .*{file} changed"):
            qaqfilter.select_recipe(recipe, plugins=[plugin])


# --- files that must be there ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "option"),
    [
        ("fit: [fit.txt]", "fit: [fit.txt, corpus/absent.txt]", r"models\.toy\.fit\.1"),
        (
            "{use: ngram, fit: [fit.txt]}",
            "{use: ngram, prompt: {use: chat, template: corpus/absent.txt}}",
            r"models\.toy\.prompt\.template",
        ),
    ],
    ids=["fit", "template"],
)
def test_a_missing_file_is_told_where_the_recipe_names_it(
    tmp_path, recipe, manager, old, new, option
):
    recipe.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, manager)
    said = str(caught.value)
    assert re.search(rf"recipe\.yaml:5: {option}: no such file or folder: ", said), said
    assert f"{tmp_path / 'corpus' / 'absent.txt'}; correct the path" in said


def test_a_selection_needs_no_model_file(tmp_path, recipe, manager):
    text = recipe.read_text().replace(
        "{use: ngram, fit: [fit.txt]}", "{use: reference, model: a.gguf}"
    )
    recipe.write_text(text)
    with pytest.raises(RecipeError, match=r"no such file or folder: .*a\.gguf"):
        load_recipe(recipe, manager)
    loaded = load_recipe(recipe, manager, opens_models=False)
    assert loaded.models["toy"].backend.options.model == f"path:{tmp_path / 'a.gguf'}"


def test_numbers_are_there_without_the_files(tmp_path, recipe):
    qaqfilter.run(recipe)
    (tmp_path / "fit.txt").unlink()
    with reopened(tmp_path / "out", load_plugins()) as run:
        assert run.run.records == 8
    with pytest.raises(RecipeError, match="no such file or folder"):
        qaqfilter.run(recipe)
    assert nothing_to_do(qaqfilter.select_recipe, recipe)
    # A selection says what it would need only where numbers are missing.
    overrides = ["steps.rmi.keep.fraction=0.25"]
    assert qaqfilter.select_recipe(recipe, overrides=overrides, replace=True).kept == 2
