"""`plan`: what a run would ask of its models, next to what runs then asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import qaqfilter
from qaqfilter import TokenSequence, Work
from qaqfilter.cli import run_cli
from qaqfilter.estimating import spread
from qaqfilter_doctor.selftest import Models
from qaqfilter_ngram.backend import NgramBackend

EMBEDDED = Path(__file__).parent.parent / "plugins" / "qaqfilter_embedded"

TWO_MODELS = """version: 1
name: test
input: {use: jsonl, path: data.jsonl}
models:
  strong: {use: reference, model: "builtin:strong"}
  weak: {use: reference, model: "builtin:weak"}
steps:
  - {id: sane, use: length, of: answer, keep: {min: 40}}
  - {id: coherent, use: rmi, model: strong}
  - {id: hard, use: ifd, model: strong}
  - {id: qaq, use: disagreement, strong: strong, weak: weak, keep: {fraction: 0.5}}
output: {use: jsonl, path: out}
"""

BEGINNING = "A long enough beginning for all of them: "
ASKED = ", ".join(
    f"{name}: '{BEGINNING}{text}'"
    for name, text in {
        "query": "{{ query }}",
        "answer": "{{ answer }}",
        "query_given_answer": "{{ answer }} answers {{ query }}",
        "answer_given_query": "{{ query }} is answered by {{ answer }}",
    }.items()
)


@pytest.fixture
def two_models(tmp_path, pairs, write_jsonl):
    write_jsonl(pairs + pairs[:2])
    path = tmp_path / "recipe.yaml"
    path.write_text(TWO_MODELS)
    return path


def counts(cost):
    return cost["asked"], cost["planned"], cost["stored"], cost["computed"]


def planned(model):
    return model.asked, model.planned, model.stored, model.computed


def of_manifest(folder):
    found = json.loads((folder / "manifest.json").read_text())["models"]
    return {m["name"]: (m["records"], *counts(m["cost"])) for m in found}


@pytest.mark.parametrize("prompt", ["{use: plain}", f"{{use: jinja, {ASKED}}}"])
def test_a_plan_of_all_records_is_what_the_run_then_does(tmp_path, two_models, prompt):
    two_models.write_text(TWO_MODELS + f"prompt: {prompt}\nrun: {{window: 3, store: false}}\n")
    plan = qaqfilter.plan(two_models, sample=1000)
    report = qaqfilter.run(two_models)
    assert plan.exact
    assert plan.records == report.read == 10
    found = {model.model: (model.records, *planned(model)) for model in plan.models}
    assert found == of_manifest(tmp_path / "out")
    assert found["strong"][4] > found["strong"][3] == 0
    sane = plan.steps[0]
    assert (sane.read, sane.kept) == (10, report.steps[0].kept)
    assert 0 < sane.kept < 10


def test_what_the_store_knows_is_not_to_be_computed(tmp_path, two_models):
    before = qaqfilter.plan(two_models)
    qaqfilter.run(two_models)
    after = qaqfilter.plan(two_models, overrides=["steps.sane.keep.min=20"])
    again = qaqfilter.plan(two_models)
    assert all(model.computed > 0 for model in before.models)
    assert [(m.stored, m.computed) for m in again.models] == [(m.planned, 0) for m in before.models]
    for old, new in zip(before.models, after.models, strict=True):
        assert new.records > old.records
        assert new.stored == old.planned
        assert new.computed == new.planned - old.planned > 0
    assert [again.seconds(model) for model in again.models] == [0.0, 0.0]


def test_the_speed_is_that_of_the_run_in_the_folder(tmp_path, two_models):
    plan = qaqfilter.plan(two_models)
    assert [model.speed for model in plan.models] == [None, None]
    assert [plan.seconds(model) for model in plan.models] == [None, None]
    qaqfilter.score_recipe(two_models, limit=4)
    plan = qaqfilter.plan(two_models)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for model, ran in zip(plan.models, manifest["models"], strict=True):
        speed = ran["cost"]["computed"] / ran["seconds"]
        assert model.speed == pytest.approx(speed)
        assert plan.seconds(model) == pytest.approx(model.computed / speed)


def test_a_manifest_of_other_weights_says_nothing(two_models):
    qaqfilter.score_recipe(two_models)
    swapped = ["models.strong.model=builtin:weak", "models.weak.precision=float64"]
    found = {m.model: m.speed for m in qaqfilter.plan(two_models, overrides=swapped).models}
    # Asked as `weak` before, it is the same model under another name.
    assert found["strong"] is not None
    assert found["weak"] is None


def test_no_weights_are_loaded(tmp_path, two_models):
    """The weights are garbage behind a whole header: `plan` works, `run` cannot."""
    for name in ("strong", "weak"):
        folder = tmp_path / name
        shutil.copytree(EMBEDDED / name, folder)
        weights = next(folder.glob("*.safetensors"))
        data = bytearray(weights.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        data[start:] = b"\xff" * (len(data) - start)
        weights.write_bytes(data)
    local = [f"models.{name}.model=./{name}" for name in ("strong", "weak")]
    plan = qaqfilter.plan(two_models, overrides=local)
    usual = qaqfilter.plan(two_models)
    assert [planned(m) for m in plan.models] == [planned(m) for m in usual.models]
    assert [m.weights for m in plan.models] == [m.weights for m in usual.models]
    with pytest.raises(qaqfilter.QaqfilterError):
        qaqfilter.run(two_models, overrides=local)


@pytest.mark.parametrize("backend", ["transformers", "llamacpp", "reference"])
def test_no_backend_loads_for_a_plan(two_models, monkeypatch, backend):
    module = __import__(f"qaqfilter_{backend}.backend", fromlist=["backend"])
    made = next(
        value
        for name, value in vars(module).items()
        if name.endswith("Backend") and value.__module__ == module.__name__
    )
    loads = {"llamacpp": "_open_decoder"}.get(backend, "_loaded")

    def refuse(self):
        raise AssertionError("the weights are loaded")

    monkeypatch.setattr(made, loads, refuse)
    uses = [f"models.{name}.use={backend}" for name in ("strong", "weak")]
    plan = qaqfilter.plan(two_models, overrides=uses)
    usual = qaqfilter.plan(two_models)
    assert [m.asked for m in plan.models] == [m.asked for m in usual.models]
    with pytest.raises(qaqfilter.QaqfilterError, match="the weights are loaded"):
        qaqfilter.run(two_models, overrides=uses)


def test_nothing_is_written(tmp_path, two_models, monkeypatch):
    monkeypatch.setenv("QAQFILTER_STORE", str(tmp_path / "store"))
    before = sorted(tmp_path.iterdir())
    qaqfilter.plan(two_models)
    assert sorted(tmp_path.iterdir()) == before


def test_shared_beginnings_count_where_the_backend_can_use_them(write_recipe, monkeypatch):
    recipe = write_recipe("  - {id: rmi, use: rmi}", head=f"prompt: {{use: jinja, {ASKED}}}\n")
    without = qaqfilter.plan(recipe).models[0]
    # Had once, the beginning and its start token are in every sequence but the first.
    assert without.shared == (len(BEGINNING) + 1) * (without.sequences - 1)
    assert without.computed == without.planned
    monkeypatch.setattr(NgramBackend, "work", Work(), raising=False)
    using = qaqfilter.plan(recipe).models[0]
    assert using.computed == without.planned - without.shared


def test_too_long_records_and_cut_answers_are_counted(write_recipe, pairs, monkeypatch):
    monkeypatch.setattr(NgramBackend, "max_length", 300)
    long = [("what is it?", "x" * 400), *pairs]
    recipe = write_recipe("  - {id: rmi, use: rmi}", pairs=long)
    model = qaqfilter.plan(recipe).models[0]
    assert (dict(model.missing), model.cut) == ({"too_long": 1}, 0)
    assert dict(model.requests) == {"query": 9, "query_given_answer": 8}
    cut = qaqfilter.plan(recipe, overrides=["models.toy.too_long=cut_answer"]).models[0]
    assert (dict(cut.missing), cut.cut) == ({}, 1)


def test_a_sample_is_carried_to_the_whole(write_recipe, pairs):
    recipe = write_recipe("  - {id: rmi, use: rmi}", pairs=pairs[:1] * 40)
    plan = qaqfilter.plan(recipe, sample=10, overrides=["run.window=1"])
    everything = qaqfilter.plan(recipe, sample=40, overrides=["run.window=1"])
    assert (plan.sampled, plan.exact, everything.exact) == (10, False, True)
    assert plan.models[0].records == 10
    assert plan.whole(plan.models[0].planned) == everything.models[0].planned
    assert plan.as_data()["models"][0]["whole"]["records"] == 40


@pytest.mark.parametrize(("records", "sample"), [(0, 5), (1, 5), (7, 7), (8, 7), (1000, 3)])
def test_the_sample_is_spread(records, sample):
    rows = spread(records, sample)
    assert len(rows) == min(records, sample)
    assert (np.diff(rows) > 0).all()
    assert all(0 <= row < records for row in rows)


def test_the_spread_reaches_both_ends():
    assert spread(1000, 4).tolist() == [125, 375, 625, 875]


def test_later_steps_are_upper_bounds(two_models, capsys):
    assert run_cli(["plan", str(two_models), "--set", "steps.coherent.keep={fraction: 0.5}"]) == 0
    told = capsys.readouterr().out
    assert "≤: an upper bound" in told
    assert "not known yet" in told
    assert run_cli(["plan", str(two_models)]) == 0
    assert "≤" not in capsys.readouterr().out


def test_an_empty_input_has_a_plan(tmp_path, two_models, capsys):
    (tmp_path / "data.jsonl").write_text("")
    assert run_cli(["plan", str(two_models)]) == 0
    assert "0 records; all were tokenised." in capsys.readouterr().out


def test_json_is_one_document_and_nothing_else(two_models):
    done = subprocess.run(
        [sys.executable, "-m", "qaqfilter", "plan", str(two_models), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    plan = qaqfilter.plan(two_models)
    assert found == json.loads(json.dumps(plan.as_data()))
    assert found["models"][0]["whole"]["computed"] == plan.models[0].computed


def test_memory_by_arithmetic(tmp_path, two_models):
    """Seven likelihoods, the steps' columns, fate and place, half as much again in passing."""
    plan = qaqfilter.plan(two_models)
    recipe = qaqfilter.load_recipe(two_models)
    columns = sum(len(step.selector.columns) for step in recipe.steps)
    likelihoods = len({(s.view(m), name) for s in recipe.steps for m, name in s.needs})
    held = 13 * likelihoods + 8 * columns + 28 + 1  # `length` remembers whose text it has seen
    assert plan.memory.columns == round(held * 1.5) * plan.records
    requests = sum(sum(model.requests.values()) for model in plan.models)
    assert plan.memory.index == 16 * requests
    assert plan.memory.complete
    assert plan.memory.model == max(model.memory for model in plan.models)
    assert plan.as_data()["memory"]["total"] == plan.memory.total
    without = qaqfilter.plan(two_models, overrides=["run.store=false"]).memory
    assert without.index == 0


def test_memory_of_a_backend_that_does_not_say(two_models, capsys):
    silent = "models.weak={use: ngram}"
    plan = qaqfilter.plan(two_models, overrides=[silent])
    assert [model.memory is None for model in plan.models] == [False, True]
    assert not plan.memory.complete
    assert plan.memory.model == plan.models[0].memory
    assert run_cli(["plan", str(two_models), "--set", silent]) == 0
    assert "Memory: at least" in capsys.readouterr().out


@pytest.mark.parametrize("length", [64, 256])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_what_reference_says_it_takes_is_what_it_takes(manager, length, precision):
    component = manager.require("backend", "reference")
    options = component.config(model="builtin:weak", precision=precision)
    backend = component.create(options, Models(manager))
    said = backend.memory(length)
    sequence = TokenSequence(tuple([5] * length), ((1, length),))
    tracemalloc.start()
    try:
        backend.logprobs([sequence])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.6 < said / peak < 1.5
