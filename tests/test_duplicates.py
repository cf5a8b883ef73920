"""Exact and near duplicates, against an exact comparison of all with all."""

import itertools
import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import qaqfilter
from qaqfilter import Origin, Record, Table, Turn
from qaqfilter_docstrings.source import Docstrings, DocstringsOptions
from qaqfilter_duplicates.clusters import near_ones, rows_of_band
from qaqfilter_duplicates.exact import ExactDuplicates, ExactDuplicatesOptions
from qaqfilter_duplicates.minhash import shingles, signature, similarity
from qaqfilter_duplicates.near import NearDuplicates, NearDuplicatesOptions


def record(query, answer, **more):
    return Record("r", query, answer, b"", Origin("here", 0), **more)


def table_of(selector, records, rows=None):
    measured = [selector.measure(one) for one in records]
    columns = {name: np.array([one[name] for one in measured]) for name in selector.packed}
    return Table(np.arange(len(records)) if rows is None else rows, columns=columns)


def decided(selector, records, rows=None):
    """Its columns, and its decisions."""
    table = table_of(selector, records, rows)
    columns = dict(selector.score(table))
    assert list(columns) == list(selector.columns)
    table.columns.update(columns)
    return columns, selector.decide(table)


def exact(**options):
    return ExactDuplicates(ExactDuplicatesOptions(**options))


def near(**options):
    return NearDuplicates(NearDuplicatesOptions(**options))


def test_the_first_of_equal_texts_stays():
    records = [record(*pair) for pair in ("ab", "cd", "ab", "ab", "ef")]
    columns, decisions = decided(exact(), records, rows=np.array([3, 5, 6, 8, 9]))
    assert columns["copy"].tolist() == [1, 1, 2, 3, 1]
    assert columns["copies"].tolist() == [3, 1, 3, 3, 1]
    np.testing.assert_array_equal(columns["duplicate_of"], [np.nan, np.nan, 3, 3, np.nan])
    assert decisions.kept.tolist() == [True, True, False, False, True]
    assert [decisions.reasons[code] for code in decisions.reason] == [
        "kept", "kept", "duplicate", "duplicate", "kept",
    ]  # fmt: skip
    np.testing.assert_array_equal(decisions.value, [np.nan, np.nan, 2, 3, np.nan])
    np.testing.assert_array_equal(decisions.bound, [np.nan, np.nan, 1, 1, np.nan])


@pytest.mark.parametrize(
    ("options", "one", "other"),
    [
        ({"of": "query"}, ("q", "a"), ("q", "b")),
        ({"of": "answer"}, ("q", "a"), ("r", "a")),
        ({"ignore": ["white_space"]}, (" a  b\n", "c"), ("a b", "c")),
        ({"ignore": ["case"]}, ("Straße", "C"), ("STRASSE", "c")),
        ({"ignore": ["unicode_forms"]}, ("ﬁne", "é"), ("fine", "é")),
    ],
)
def test_what_makes_no_difference(options, one, other):
    records = [record(*one), record(*other)]
    assert decided(exact(**options), records)[1].kept.tolist() == [True, False]
    assert decided(exact(), records)[1].kept.tolist() == [True, True]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record("ab", "c"), record("a", "bc")),
        (record("\ud800", ""), record("\ud801", "")),
        (record("a\0", ""), record("a", "\0")),
        (record("q", "a", history=(Turn("user", "x"),)), record("q", "a")),
    ],
)
def test_texts_that_only_look_alike(one, other):
    assert decided(exact(), [one, other])[1].kept.all()


def real_texts():
    """Functions of the standard library, each with a few copies in which words were changed."""
    source = Docstrings(DocstringsOptions(limit=150, min_answer=300, max_answer=1500))
    draw = random.Random(0)
    texts = []
    for one in itertools.islice(source.read(), 150):
        texts.append(one.answer)
        for share in (0.01, 0.03, 0.1, 0.3):
            words = one.answer.split(" ")
            for at in range(len(words)):
                if draw.random() < share:
                    words[at] = draw.choice(("x", "None", "self.y", "+"))
            texts.append(" ".join(words))
    draw.shuffle(texts)
    return texts


def test_the_estimate_is_unbiased_and_as_close_as_is_said():
    texts = real_texts()
    sets = [shingles([text], "words", 3) for text in texts]
    signed = np.array([np.frombuffer(signature(one, 128), np.uint8) for one in sets])
    errors = []
    for a, b in itertools.combinations(range(len(sets)), 2):
        true = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        if 0.5 <= true < 1:
            errors.append(similarity(signed[b : b + 1], signed[a])[0] - true)
    assert len(errors) > 150
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 0.05  # sqrt(J(1-J)/128) is 0.044 at 0.5


def test_near_duplicates_are_those_of_an_exact_comparison():
    texts = real_texts()
    records = [record("", text) for text in texts]
    columns, decisions = decided(near(threshold=0.7, permutations=256), records)
    sets = [shingles([text], "words", 3) for text in texts]
    nearest = np.zeros(len(sets))
    for b, a in itertools.product(np.flatnonzero(~decisions.kept), np.flatnonzero(decisions.kept)):
        if a < b:
            nearest[b] = max(nearest[b], len(sets[a] & sets[b]) / len(sets[a] | sets[b]))
    out = ~decisions.kept
    assert 200 < out.sum() < 600
    # Precision: whatever went is close to something that stays. Recall: no clear pair stays.
    assert (nearest[out] > 0.7 - 0.1).all()
    stay = np.flatnonzero(decisions.kept)
    missed = [
        (a, b)
        for a, b in itertools.combinations(stay.tolist(), 2)
        if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) > 0.7 + 0.1
    ]
    assert missed == []
    # What is said of each: who stays in its place, and how similar that one is.
    of = columns["duplicate_of"][out].astype(int)
    assert (of < np.flatnonzero(out)).all()
    assert decisions.kept[of].all()
    assert (decisions.value[out] >= 0.7).all()
    assert set(decisions.bound[out]) == {0.7}
    np.testing.assert_array_equal(columns["cluster"][out], of)
    np.testing.assert_array_equal(columns["cluster"][decisions.kept], stay)


def test_a_chain_of_small_changes_is_not_one_duplicate():
    """Each is near the one before; the last has nothing of the first."""
    draw = random.Random(1)
    words = [str(draw.random()) for _ in range(400)]
    chain = [record("", " ".join(words[20 * at : 20 * at + 200])) for at in range(10)]
    kept = decided(near(threshold=0.6), chain)[1].kept
    assert kept[0]
    assert 2 <= kept.sum() < 10


def test_bands_find_what_they_promise():
    for threshold in (0.5, 0.7, 0.8, 0.9, 1.0):
        for size in (64, 128, 256):
            rows = rows_of_band(size, threshold)
            assert rows >= 2
            assert 1 - (1 - threshold**rows) ** (size // rows) >= 0.99


def test_texts_without_shingles_are_nobodys_duplicates():
    texts = ["", "", " \n", "\0", "\ud800 x", "\ud800 x", "x" * 1_000_000, "שלום עולם", "שלום עולם"]
    columns, decisions = decided(near(), [record("", text) for text in texts])
    assert decisions.kept.tolist() == [True] * 5 + [False, True, True, False]
    np.testing.assert_array_equal(columns["similarity"][:4], np.nan)
    assert columns["similarity"][5] == 1


def test_characters_tell_apart_what_words_do_not():
    records = [
        record("", "数え上げる関数を書いてください"),
        record("", "数え上げる関数を書け"),
    ]
    assert decided(near(unit="words"), records)[1].kept.all()
    loose = near(unit="characters", size=2, threshold=0.5, permutations=256)
    assert decided(loose, records)[1].kept.tolist() == [True, False]


def test_nothing_is_near_nothing():
    assert near_ones(np.empty((0, 128), np.uint8), 0.8).near.tolist() == []


@pytest.mark.parametrize("options", [{"threshold": 0.3}, {"size": 0}, {"ignore": ["accents"]}])
def test_options_are_checked(options):
    with pytest.raises(ValidationError):
        NearDuplicatesOptions(**options)


STEPS = """\
  - {id: once, use: exact_duplicates, of: answer, ignore: [white_space]}
  - {id: unlike, use: near_duplicates, of: answer, threshold: 0.6}"""


def test_a_run_and_a_selection_agree_whatever_the_windows(tmp_path, write_recipe):
    texts = real_texts()
    pairs = [(f"q{at}", text) for at, text in enumerate([*texts, *texts[:20]])]
    path = write_recipe(STEPS, pairs=pairs)
    out = [f"output.path={tmp_path / 'other'}", "run.window=7"]
    report, other = qaqfilter.run(path), qaqfilter.run(path, overrides=out)
    assert report.steps[0].rejected["duplicate"] >= 20
    assert report.steps[1].rejected["near_duplicate"] > 100
    kept = (tmp_path / "out" / "kept.jsonl").read_bytes()
    assert kept == (tmp_path / "other" / "kept.jsonl").read_bytes()
    assert other.kept == report.kept
    again = qaqfilter.select_recipe(path, replace=True)
    assert (again.kept, kept) == (report.kept, (tmp_path / "out" / "kept.jsonl").read_bytes())
    scores = pq.read_table(report.files["scores"]).to_pydict()
    rejected = [row for row, step in enumerate(scores["step"]) if step == "unlike"]
    for row in rejected:
        stays = int(scores["unlike.duplicate_of"][row])
        assert scores["kept"][stays]
        assert scores["unlike.similarity"][row] >= 0.6
    looser = qaqfilter.select_recipe(path, replace=True, overrides=["steps.unlike.threshold=0.9"])
    assert looser.kept > report.kept


def test_every_exchange_of_a_conversation_counts(tmp_path):
    def turns(*texts):
        roles = itertools.cycle(("user", "assistant"))
        return {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]}

    rows = [turns("a", "b", "c", "d"), turns("x", "y", "c", "d"), turns("a", "b", "c", "d")]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nname: test\ninput: {use: jsonl, path: data.jsonl, turns: each}\n"
        "steps: [{id: once, use: exact_duplicates}]\noutput: {use: jsonl, path: out}\n"
    )
    assert qaqfilter.run(tmp_path / "recipe.yaml").kept == 2


def test_keep_is_refused(write_recipe):
    path = write_recipe("  - {id: once, use: exact_duplicates, keep: {max: 1}}")
    with pytest.raises(qaqfilter.RecipeError, match="decides itself"):
        qaqfilter.load_recipe(path)
