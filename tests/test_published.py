"""Presets give the numbers that the published scripts gave (see published.py)."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import qaqfilter
from published import LENGTHS, NUMBERS, TOKENIZERS, make_model, records

GIVEN = json.loads(NUMBERS.read_bytes())
TOLERANCE = 1e-4
"""Nats, on every loss."""
SCORES = {"superfiltering": "ifd_ppl", "cherry": "ifd_nll", "rifd": "rifd_ppl", "qaq-repo": "diff"}
BACKENDS = (
    {"use": "reference"},
    {"use": "transformers", "dtype": "float32", "device": "cpu", "batch_tokens": 2048},
)


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return request.param


@pytest.fixture(scope="module")
def models(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: make_model(folder / name, name, tokenizer) for name in ("strong", "weak")}


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend["use"])
def runs(request, models, tmp_path_factory):
    """The four presets in one chain that drops nothing, and each in a run of its own."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "data.json").write_text(json.dumps(records()), encoding="utf-8")
    prompts = {
        "superfiltering": {"use": "superfiltering", "max_length": LENGTHS["superfiltering"]},
        "cherry": {"use": "cherry", "max_length": LENGTHS["cherry"]},
        "rifd": {"use": "reflection_tuning", "max_length": LENGTHS["rifd"]},
        "qaq-repo": {"use": "qaq_repo", "max_length": LENGTHS["qaq-repo"]},
    }
    found = {}
    for preset, prompt in prompts.items():
        names = ("strong", "weak") if preset == "qaq-repo" else ("strong",)
        step = {"id": "script", "preset": preset, "prompt": prompt}
        if preset == "qaq-repo":
            step |= {"strong": "strong", "weak": "weak"}
        if preset == "superfiltering":  # its script takes a share of another data set's size
            step["keep"] = {"below": 1, "top": 7}
        steps = [step]
        if preset == "rifd":  # its script scores the other direction too
            steps.insert(0, {"id": "ifd", "use": "ifd", "prompt": prompt})
        recipe = {
            "version": 1,
            "name": preset,
            "input": {"use": "json", "path": "data.json"},
            "models": {name: {**request.param, "model": str(models[name])} for name in names},
            "steps": steps,
            "output": {"use": "json", "path": f"out-{preset}"},
            "run": {"store": False},
        }
        path = folder / f"{preset}.yaml"
        path.write_text(json.dumps(recipe), encoding="utf-8")
        qaqfilter.run(path, observer=qaqfilter.Silent())
        out = folder / f"out-{preset}"
        kept = json.loads((out / "kept.json").read_text(encoding="utf-8"))
        table = pq.read_table(out / "scores.parquet").to_pydict()
        found[preset] = table, {row["id"] for row in kept}
    return found


def test_the_numbers_are_of_these_records():
    rows = len(records())
    assert rows >= 60
    for numbers in GIVEN["numbers"].values():
        for preset in numbers.values():
            assert all(len(v) == rows for name, v in preset.items() if name != "kept")


def losses_of(table, column):
    """Nats a token, None where there are none."""
    return [
        None if total is None else -total / tokens
        for total, tokens in zip(table[f"{column}.logprob"], table[f"{column}.tokens"], strict=True)
    ]


OTHER = {"query": "query_given_answer", "answer": "answer_given_query"}


def given_losses(preset, tokenizer):
    """What the script gave, by the column of ours; a loss of exactly 0 is its word for none.

    Where a prompt leaves no room for the target, the target alone has a loss in some scripts all
    the same, of its whole length, or of what its next script drops. We say null of both.
    """
    theirs = GIVEN["numbers"][tokenizer][preset]
    for name, losses in theirs.items():
        if name in ("kept", SCORES[preset]):
            continue
        step = "ifd" if preset == "rifd" and name.startswith("answer") else "script"
        view, _, likelihood = f"strong.{name}".rpartition(".")
        nulls = [loss is None or loss == 0 for loss in losses]
        if preset != "qaq-repo" and name in OTHER:
            other = theirs["ifd_nll" if preset == "cherry" else OTHER[name]]
            nulls = [null or loss is None for null, loss in zip(nulls, other, strict=True)]
        yield (
            f"{step}@{view.rpartition('.')[2]}.{likelihood}",
            [None if null else loss for null, loss in zip(nulls, losses, strict=True)],
        )


def assert_close(labels, ours, theirs, tolerance):
    wrong = [
        (label, mine, given)
        for label, mine, given in zip(labels, ours, theirs, strict=True)
        if (mine is None) != (given is None)
        or (given is not None and not math.isclose(mine, given, rel_tol=0, abs_tol=tolerance))
    ]
    assert not wrong


@pytest.mark.parametrize("preset", list(SCORES))
def test_every_loss(preset, runs, tokenizer):
    table, _ = runs[preset]
    compared = 0
    for column, theirs in given_losses(preset, tokenizer):
        assert_close(table["id"], losses_of(table, column), theirs, TOLERANCE)
        compared += sum(loss is not None for loss in theirs)
    assert compared >= 2 * 60


@pytest.mark.parametrize("preset", ["superfiltering", "cherry", "rifd"])
def test_scores_and_who_is_kept(preset, runs, tokenizer):
    table, kept = runs[preset]
    theirs = GIVEN["numbers"][tokenizer][preset]
    ours = table[f"script.{SCORES[preset]}"]
    # A ratio is off by as much as its losses are, times itself.
    largest = max(score for score in theirs[SCORES[preset]] if score is not None)
    assert_close(table["id"], ours, theirs[SCORES[preset]], 4 * TOLERANCE * max(1, largest))
    assert kept == set(theirs["kept"])


def test_qaq_ranks_what_has_a_number(runs, tokenizer):
    """Its script ranks records of which nothing was scored too, by a loss of 0; we do not."""
    table, kept = runs["qaq-repo"]
    losses = dict(given_losses("qaq-repo", tokenizer))
    rmi = pd.DataFrame(
        {
            name: pd.array(losses[f"script@{name}.query"], dtype="Float64")
            - pd.array(losses[f"script@{name}.query_given_answer"], dtype="Float64")
            for name in ("strong", "weak")
        },
        index=table["id"],
    ).dropna()
    ranks = rmi.rank(pct=True)
    diff = ranks["strong"] - ranks["weak"]
    ours = {i: d for i, d in zip(table["id"], table["script.diff"], strict=True) if d is not None}
    assert set(ours) == set(diff.index)
    assert len(table["id"]) - len(diff) >= 5  # the script has zeros
    np.testing.assert_allclose([ours[i] for i in diff.index], diff, atol=1e-12)
    assert kept == set(diff.nlargest(int(len(table["id"]) * 0.25)).index)
