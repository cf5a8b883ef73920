"""Records that differ: both methods against plain computations, and through whole runs."""

import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import qaqfilter
from qaqfilter import ModelError, Origin, Record, Table, unpack
from qaqfilter_diversity.embedding import DEFAULT, _model, embedded
from qaqfilter_diversity.options import DiversityOptions
from qaqfilter_diversity.picking import facility_location, k_center, unit_points
from qaqfilter_diversity.selector import Diversity


def points(count, size=8, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def covered(likeness, picked):
    return np.maximum(likeness[:, picked].max(axis=1), 0).sum() if picked else 0.0


@pytest.mark.parametrize("count", [1, 5, 40, 300])
def test_facility_location_is_what_plain_greedy_picks(count):
    found = facility_location(points(300), count)
    likeness = points(300).astype(np.float64) @ points(300).astype(np.float64).T
    best = np.zeros(300)
    for step, row in enumerate(found.order[:40]):
        gains = np.maximum(likeness - best[:, None], 0).sum(axis=0)
        gains[found.order[:step]] = -1
        assert gains[row] == pytest.approx(gains.max(), abs=1e-3)
        assert found.gain[row] == pytest.approx(gains[row], abs=1e-3)
        best = np.maximum(best, likeness[:, row])
    assert len({*found.order}) == count
    if count < 40:  # those that were not picked say what they would still add
        left = np.setdiff1d(np.arange(300), found.order)
        gains = np.maximum(likeness - best[:, None], 0).sum(axis=0)
        np.testing.assert_allclose(found.gain[left], gains[left], atol=1e-3)


def test_facility_location_is_near_the_best_choice():
    few = points(14, 3)
    likeness = few @ few.T
    best = max(covered(likeness, [*c]) for c in itertools.combinations(range(14), 4))
    assert covered(likeness, facility_location(few, 4).order) >= (1 - 1 / np.e) * best


def test_k_center_picks_the_farthest():
    some = points(200)
    found = k_center(some, 20, seed=3)
    far = 1 - some @ some.T
    for step, row in enumerate(found.order[1:], start=1):
        nearest = far[:, found.order[:step]].min(axis=1)
        assert nearest[row] == pytest.approx(nearest.max(), abs=1e-6)
        assert found.gain[row] == pytest.approx(nearest[row], abs=1e-6)
    left = np.setdiff1d(np.arange(200), found.order)
    np.testing.assert_allclose(found.gain[left], far[left][:, found.order].min(axis=1), atol=1e-6)
    assert found.gain[left].max() <= found.gain[found.order].min()
    assert k_center(some, 20, seed=3).order == found.order
    assert k_center(some, 20, seed=4).order != found.order


def test_equal_points_are_picked_once_each():
    same = np.repeat(points(3), 4, axis=0)
    assert {row // 4 for row in k_center(same, 3, 0).order} == {0, 1, 2}
    for found in (k_center(same, 12, 0), facility_location(same, 12)):
        assert sorted(found.order) == [*range(12)]


def direction(text, size=256, model=DEFAULT):
    return unit_points(np.frombuffer(embedded(text, model, size), np.uint8)[None])[0]


def test_embeddings_tell_what_texts_are_about():
    a, b, c = map(direction, ("Add two numbers.", "Sum of two integers", "How to cook pasta?"))
    assert a @ b > 0.4 > a @ c
    made = _model(DEFAULT).encode(["Add two numbers."])[0]
    assert direction("Add two numbers.") @ made / np.linalg.norm(made) > 0.999


@pytest.mark.parametrize("text", ["\0", "\ud800", "\ud800 words", "word " * 200_000, "שלום עולם"])
def test_hostile_texts_have_an_embedding_or_none(text):
    assert len(embedded(text, DEFAULT, 64)) == 64
    assert embedded("", DEFAULT, 64) == bytes(64)


def record(at, text):
    return Record(f"{at}", text, "", b"", Origin("here", at))


def decided(texts, **options):
    selector = Diversity(DiversityOptions(seed=0, **options))
    measured = [selector.measure(record(at, text)) for at, text in enumerate(texts)]
    table = Table(
        np.arange(len(texts)),
        columns={name: np.array([one[name] for one in measured]) for name in selector.packed},
    )
    assert unpack(table, "embedding", selector.config.dimensions).any() or not any(texts)
    table.columns.update(selector.score(table))
    return selector.decide(table)


@pytest.mark.parametrize("method", ["k_center", "facility_location"])
def test_what_is_dropped_says_why(method):
    texts = ["add numbers", "add two numbers", "sum numbers", "", "cook pasta", "cook some pasta"]
    found = decided(texts, method=method, top=2)
    assert found.kept.sum() == 2
    assert found.kept[:3].sum() == found.kept[4:].sum() == 1
    words = [found.reasons[code] for code in found.reason]
    assert words[3] == "undefined"
    assert np.isnan(found.value[3])
    out = ~found.kept & (np.arange(6) != 3)
    assert {words[row] for row in np.flatnonzero(out)} == {method}
    assert (found.value[out] <= found.bound[out]).all()


@pytest.mark.parametrize(("options", "kept"), [
    ({"fraction": 0.29}, 29), ({"fraction": 0}, 0), ({"fraction": 1}, 100), ({"top": 500}, 100),
])  # fmt: skip
def test_the_count_is_exact(options, kept):
    texts = [
        f"{word} {n}"
        for n in range(10)
        for word in ["add", "cook", "sing", "walk", "read", "eat", "sit", "run", "fly", "go"]
    ]
    assert decided(texts, **options).kept.sum() == kept
    assert decided(["", ""], **options).kept.sum() == 0


@pytest.mark.parametrize("options", [{}, {"top": 1, "fraction": 0.1}, {"top": -1}])
def test_how_many_has_to_be_said_once(options):
    with pytest.raises(ValidationError):
        DiversityOptions(seed=0, **options)


def test_other_models_are_folders(tmp_path):
    _model(DEFAULT).save_pretrained(str(tmp_path / "mine"))
    mine = direction("Add two numbers.", model=f"path:{tmp_path / 'mine'}")
    np.testing.assert_array_equal(mine, direction("Add two numbers."))
    with pytest.raises(ModelError, match="set dimensions: 256"):
        embedded("x", DEFAULT, 300)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="cannot be loaded as a model2vec model"):
        embedded("x", f"path:{tmp_path / 'empty'}", 64)
    with pytest.raises(ModelError, match="name a folder, or a hub id"):
        embedded("x", "pypi:gemma3-270m", 64)


@pytest.mark.parametrize("method", ["k_center", "facility_location"])
def test_a_run_and_a_selection_agree_whatever_the_windows(tmp_path, method):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "version: 1\nname: test\ninput: {use: docstrings, limit: 120}\nsteps:\n"
        f"  - {{id: wide, use: diversity, method: {method}, fraction: 0.25, dimensions: 64}}\n"
        "output: {use: jsonl, path: out}\n"
    )
    report = qaqfilter.run(path)
    kept = (tmp_path / "out" / "kept.jsonl").read_bytes()
    assert report.kept == 30
    other = [f"output.path={tmp_path / 'other'}", "run.window=11"]
    qaqfilter.run(path, overrides=other)
    assert (tmp_path / "other" / "kept.jsonl").read_bytes() == kept
    qaqfilter.select_recipe(path, replace=True)
    assert (tmp_path / "out" / "kept.jsonl").read_bytes() == kept
    picks = pq.read_table(report.files["scores"])["wide.pick"].to_pylist()
    assert sorted(pick for pick in picks if pick is not None) == [*range(1, 31)]
