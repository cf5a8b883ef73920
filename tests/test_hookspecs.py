"""The example in every hook's docstring is a whole plugin: it is registered and put to work."""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from types import ModuleType

import pytest

import qaqfilter
from qaqfilter.hookspecs import Specs
from qaqfilter.manager import KINDS, load_plugins

HOOKS = [name for name in vars(Specs) if name.startswith("qaqfilter_")]


def example(hook: str) -> str:
    doc = inspect.getdoc(getattr(Specs, hook))
    assert doc is not None
    assert "::" in doc
    return textwrap.dedent(doc.split("::", 1)[1])


@pytest.fixture
def plugin_file(tmp_path):
    def write(hook: str):
        path = tmp_path / f"{hook}_example.py"
        path.write_text(example(hook))
        return path

    return write


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_is_a_whole_plugin(hook, plugin_file):
    before = set(load_plugins().offers)
    manager = load_plugins((plugin_file(hook),))
    new = set(manager.offers) - before
    kinds = [kind for kind, of in KINDS.items() if of == hook]
    assert [kind for kind, _ in new] == kinds


def run(tmp_path, recipe: dict, *plugins):
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return qaqfilter.run(path, plugins=plugins)


@pytest.fixture
def recipe(write_jsonl, pairs):
    write_jsonl(pairs)
    return {
        "version": 1,
        "name": "example",
        "input": {"use": "jsonl", "path": "data.jsonl"},
        "models": {"toy": {"use": "ngram"}},
        "steps": [{"id": "rmi", "use": "rmi", "keep": {"fraction": 0.5}}],
        "output": {"use": "jsonl", "path": "out"},
    }


def test_the_source_example_reads(tmp_path, plugin_file, recipe):
    (tmp_path / "lines.tsv").write_text("add\ta + b\nnegate\t-a\n")
    recipe["input"] = {"use": "lines", "path": "lines.tsv"}
    report = run(tmp_path, recipe, plugin_file("qaqfilter_sources"))
    assert (report.read, report.kept) == (2, 1)


def test_the_sink_example_writes(tmp_path, plugin_file, recipe):
    recipe["output"] = {"use": "queries", "path": "out"}
    report = run(tmp_path, recipe, plugin_file("qaqfilter_sinks"))
    assert len((tmp_path / "out" / "kept.txt").read_text().splitlines()) == report.kept == 4


def test_the_backend_example_scores(tmp_path, plugin_file, recipe):
    recipe["models"] = {"toy": {"use": "uniform"}}
    recipe["steps"] = [{"id": "p", "use": "perplexity", "keep": {"max": 256.0001}}]
    report = run(tmp_path, recipe, plugin_file("qaqfilter_backends"))
    assert report.kept == 8


def test_the_selector_example_filters(tmp_path, plugin_file, recipe):
    recipe["steps"] = [{"id": "s", "use": "surprise", "keep": {"top": 3}}]
    report = run(tmp_path, recipe, plugin_file("qaqfilter_selectors"))
    assert report.kept == 3


def test_the_prompt_example_changes_the_numbers(tmp_path, plugin_file, recipe):
    plain = run(tmp_path, recipe)
    recipe["output"]["path"] = "labelled"
    recipe["prompt"] = {"use": "labelled"}
    labelled = run(tmp_path, recipe, plugin_file("qaqfilter_prompts"))
    assert labelled.models[0].cost.planned > plain.models[0].cost.planned


def test_the_preset_example_is_a_step(tmp_path, plugin_file, recipe):
    recipe["steps"] = [{"id": "s", "preset": "easy"}]
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    made = qaqfilter.load_recipe(path, plugins=[plugin_file("qaqfilter_presets")])
    step = made.resolved()["steps"][0]
    assert (step["use"], step["variant"], step["keep"]["max"]) == ("ifd", "ifd_nll", 0.5)
    assert "preset" not in step


def test_the_executor_example_gives_the_same_answer(tmp_path, plugin_file, recipe):
    run(tmp_path, recipe)
    recipe["output"]["path"] = "backwards"
    recipe["run"] = {"executor": "backwards", "window": 3}
    run(tmp_path, recipe, plugin_file("qaqfilter_executors"))
    kept = [(tmp_path / folder / "kept.jsonl").read_bytes() for folder in ("out", "backwards")]
    assert kept[0] == kept[1]


def test_the_location_example_says_what_is_missing(plugin_file):
    manager = load_plugins((plugin_file("qaqfilter_models"),))
    with pytest.raises(qaqfilter.ModelError, match="no model 'tiny' on the shelf"):
        manager.locate("shelf:tiny")


def test_the_command_example_runs(plugin_file):
    from click.testing import CliRunner

    manager = load_plugins((plugin_file("qaqfilter_commands"),))
    command = manager.component("command", "hello").create(qaqfilter.Options())
    assert CliRunner().invoke(command).output == "hello from a plugin\n"


def test_the_damage_example_spoils(plugin_file):
    manager = load_plugins((plugin_file("qaqfilter_damages"),))
    damage = manager.component("damage", "shouted").create(qaqfilter.Options())
    record = qaqfilter.Record("1", "Add.", "a + b", b"", qaqfilter.Origin("data", 0))
    assert damage.damage(record, (), None) == ("Add.", "A + B")


def test_the_watcher_examples_see_the_run(tmp_path, plugin_file, recipe, capsys):
    watchers = [hook for hook in HOOKS if hook not in KINDS.values()]
    run(tmp_path, recipe, *(plugin_file(hook) for hook in watchers))
    out = capsys.readouterr().out.splitlines()
    assert out == [f"example -> {tmp_path / 'out'}", "rmi: kept 4 of 8", "kept 4 of 8"]


def test_plugins_stay_out_of_a_recipe(tmp_path, recipe):
    """A recipe is data: there is no key with which it could load code."""
    recipe["plugins"] = ["evil.py"]
    with pytest.raises(qaqfilter.RecipeError, match="plugins: unknown key"):
        run(tmp_path, recipe)
    assert not any(isinstance(m, ModuleType) and "evil" in n for n, m in sys.modules.items())
