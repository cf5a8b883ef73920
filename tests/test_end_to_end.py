"""One recipe on both real backends, plain and chat prompts: the same numbers, the same kept."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import qaqfilter
from tiny_models import export_gguf, make_model

RECIPE = """
version: 1
name: both
input: {{use: docstrings, limit: 24, max_query: 120, max_answer: 240}}
models:
  hf: {{use: transformers, model: "{hf}", device: cpu, dtype: float32}}
  gguf: {{use: llamacpp, model: "{gguf}", threads: 1}}
prompt: {prompt}
steps:
  - {{id: ifd_hf, use: ifd, model: hf}}
  - {{id: ifd_gguf, use: ifd, model: gguf}}
  - {{id: rmi_hf, use: rmi, model: hf}}
  - {{id: rmi_gguf, use: rmi, model: gguf, keep: {{fraction: 0.5}}}}
output: {{use: jsonl, path: out}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random Llama with a chat template, beside its GGUF."""
    folder = tmp_path_factory.mktemp("both") / "tiny"
    make_model(folder)
    export_gguf(folder, folder.with_suffix(".gguf"))
    return folder


@pytest.mark.parametrize("prompt", ["plain", "chat"])
def test_both_backends_give_the_same_numbers_and_keep_the_same(folder, tmp_path, prompt):
    """Plain with the embedded model; chat with one that has a template."""
    models = {"hf": "builtin:strong", "gguf": "builtin:strong"}
    block = "{use: plain}"
    if prompt == "chat":
        models = {"hf": str(folder), "gguf": f"{folder}.gguf"}
        block = "{use: chat, system: 'You are terse.'}"
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(prompt=block, **models))
    report = qaqfilter.run(path)
    assert (report.read, report.kept) == (24, 12)
    table = pq.read_table(report.files["scores"]).to_pydict()
    for name in qaqfilter.LIKELIHOODS:
        tokens = [np.array(table[f"{m}.{name}.tokens"]) for m in ("hf", "gguf")]
        np.testing.assert_array_equal(*tokens)
        means = [np.array(table[f"{m}.{name}.logprob"]) / tokens[0] for m in ("hf", "gguf")]
        np.testing.assert_allclose(*means, rtol=0, atol=2e-3)
    # Neither is constant, and each likelihood is a different number.
    assert np.std(table["rmi_hf.rmi"]) > 0.01
    np.testing.assert_allclose(table["rmi_hf.rmi"], table["rmi_gguf.rmi"], rtol=0, atol=4e-3)
    half = sorted(table["rmi_hf.rmi"], reverse=True)[report.kept - 1 : report.kept + 1]
    if half[0] - half[1] > 8e-3:
        kept = [json.loads(x)["id"] for x in report.files["kept"].read_bytes().splitlines()]
        best = np.argsort(-np.array(table["rmi_hf.rmi"]))[: report.kept]
        assert sorted(kept) == sorted(table["id"][i] for i in best)
    assert [m.name for m in report.models] == ["hf", "gguf"]
    assert report.models[0].cost.planned == report.models[1].cost.planned
    assert report.models[0].fingerprint != report.models[1].fingerprint


def test_a_chat_prompt_without_a_template_says_so(tmp_path, write_recipe):
    recipe = write_recipe("  - {id: rmi, use: rmi}", head="prompt: {use: chat}\n")
    text = recipe.read_text()
    recipe.write_text(
        text.replace("models:", "prompt: {use: chat}\nmodels:").replace(
            "prompt: {use: chat}\nsteps", "steps"
        )
    )
    with pytest.raises(qaqfilter.PromptError, match=r"no chat template.*template_from"):
        qaqfilter.run(recipe)
