"""Ranks worked out by hand, what must not change them, and the recipe of this folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from qaqfilter_typicality import Typicality, TypicalityOptions

import qaqfilter
from qaqfilter import LikelihoodColumn, Status, Table

HERE = Path(__file__).parent.parent
NAN = float("nan")


def column(nll):
    """A likelihood with these nll, each of one token; NaN is a text that was too long."""
    values = np.asarray(nll, dtype=float)
    status = np.where(np.isnan(values), Status.TOO_LONG, Status.OK).astype(np.int8)
    return LikelihoodColumn(-values, np.ones(len(values), dtype=np.int32), status)


def scored(query, answer, bins=1, counts=None, how="mean"):
    table = Table(
        np.arange(len(query)),
        {"m.query": column(query), "m.answer_given_query": column(answer)},
        counts=None if counts is None else np.array(counts),
        how=how,
    )
    return Typicality(TypicalityOptions(model="m", bins=bins)).score(table)


def test_ranks_by_hand():
    found = scored([1, 2, 3, 4], [8, 5, 6, 7])
    assert found["query_rank"].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert found["answer_rank"].tolist() == [0.875, 0.125, 0.375, 0.625]
    # The second is near the middle by its query, and at the end by its answer.
    assert found["typicality"].tolist() == [0.25, 0.25, 0.75, 0.25]


def test_answers_are_ranked_among_those_of_like_queries():
    # Likely queries have likely answers: each answer is the middle one of its three peers.
    query, answer = [1, 2, 3, 11, 12, 13], [1.1, 1.0, 1.2, 9.1, 9.2, 9.0]
    found = scored(query, answer, bins=2)
    assert found["answer_rank"] == pytest.approx([3 / 6, 1 / 6, 5 / 6, 3 / 6, 5 / 6, 1 / 6])
    assert scored(query, answer)["answer_rank"] == pytest.approx(np.array([3, 1, 5, 9, 11, 7]) / 12)


def test_equal_numbers_are_equally_typical():
    found = scored([1, 1, 1, 1], [2, 2, 2, 2], bins=3)
    assert found["typicality"].tolist() == [1, 1, 1, 1]


def test_nulls_stay_null_and_move_no_other():
    found = scored([1, 2, NAN, 3, 4], [5, 6, 0, NAN, 7])
    alone = scored([1, 2, 4], [5, 6, 7])
    for name, values in found.items():
        assert np.isnan(values[[2, 3]]).all()
        assert values[[0, 1, 4]].tolist() == alone[name].tolist()


@pytest.mark.parametrize("query", [[], [NAN, NAN]])
def test_nothing_to_rank(query):
    found = scored(query, query)
    assert all(len(values) == len(query) and np.isnan(values).all() for values in found.values())


def test_the_order_of_records_does_not_matter():
    rng = np.random.default_rng(1)
    query, answer = rng.normal(size=(2, 101)).round(1)  # rounded, so that there are ties
    answer[7] = query[9] = NAN
    there = scored(query, answer, bins=4)
    order = rng.permutation(len(query))
    here = scored(query[order], answer[order], bins=4)
    for name in there:
        np.testing.assert_array_equal(here[name], there[name][order])


def test_conversations_are_ranked_as_wholes():
    """Three exchanges, of two records: the mean of the first record's two is what is ranked."""
    found = scored([1, 3, 5], [6, 2, 3], counts=[2, 1])
    assert {name: values.tolist() for name, values in found.items()} == {
        "typicality": [0.5, 0.5],
        "query_rank": [0.25, 0.75],  # 2 and 5
        "answer_rank": [0.75, 0.25],  # 4 and 3
    }
    least = scored([1, 3, 5], [6, 2, 3], counts=[2, 1], how="min")
    assert least["answer_rank"].tolist() == [0.25, 0.75]  # 2 and 3


def test_a_run_with_conversations(tmp_path):
    def turns(*texts):
        roles = ("user", "assistant") * len(texts)
        turns = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
        return json.dumps({"messages": turns}) + "\n"

    rows = [turns("add", "a + b", "twice", "2 * (a + b)"), turns("sub", "a - b")]
    (tmp_path / "data.jsonl").write_text("".join(rows) + turns("mul", "a * b"))
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nname: turns\ninput: {use: jsonl, path: data.jsonl, turns: each}\n"
        "models: {toy: {use: ngram}}\n"
        "steps: [{id: typical, use: typicality, bins: 1, keep: {top: 1}}]\n"
        "output: {use: jsonl, path: out}\n"
    )
    report = qaqfilter.run(tmp_path / "recipe.yaml", observer=qaqfilter.Silent())
    assert (report.read, report.kept) == (3, 1)


def test_the_recipe_keeps_half_of_each_topic(tmp_path):
    for name in ("recipe.yaml", "data.jsonl"):
        shutil.copy(HERE / name, tmp_path)
    report = qaqfilter.run(tmp_path / "recipe.yaml", observer=qaqfilter.Silent())
    lines = (tmp_path / "out" / "kept.jsonl").read_text().splitlines()
    kept = {record["id"] for record in map(json.loads, lines)}
    # The empty answer has no likelihood, so no place among the others.
    assert report.steps[0].rejected == {"fraction": 16, "empty_answer": 1}
    assert len([name for name in kept if name.startswith("python")]) == 8
    assert len(kept) == 15
    # Gibberish, a refusal, an injection: as far from the middle as can be.
    assert kept.isdisjoint({"python-15", "python-16", "sql-15"})
