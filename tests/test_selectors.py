"""The bundled selectors, against numbers worked out by hand."""

import importlib
import math
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from qaqfilter import LikelihoodColumn, Need, Origin, Record, Status, Table
from qaqfilter.options import MODEL_NAME, RUN_SEED, fields_marked
from qaqfilter.selectors import Measures, Scores

NAN = math.nan
NAMES = (
    *("bits_per_byte", "coder_reviewer", "combine", "disagreement", "ifd", "length", "loss_gap"),
    *("perplexity", "pmi", "random", "rifd", "rmi", "s_ifd"),
)


def component(name):
    (found,) = importlib.import_module(f"qaqfilter_{name}").qaqfilter_selectors()
    assert found.name == name
    return found


def create(name, **options):
    offered = component(name)
    return offered.create(offered.config.model_validate(options))


def column(cells):
    """From (sum of log-probabilities, tokens) or a Status, one a row."""
    status = [cell if isinstance(cell, Status) else Status.OK for cell in cells]
    pairs = [(NAN, 0) if isinstance(cell, Status) else cell for cell in cells]
    return LikelihoodColumn(
        np.array([logprob for logprob, _ in pairs], dtype=np.float64),
        np.array([tokens for _, tokens in pairs], dtype=np.int64),
        np.array(status, dtype=np.int8),
    )


def table(**likelihoods):
    """``model__likelihood=[cells]``."""
    columns = {name.replace("__", "."): column(cells) for name, cells in likelihoods.items()}
    rows = len(next(iter(columns.values())).tokens)
    return Table(np.arange(rows), columns)


def score(selector, numbers):
    assert isinstance(selector, Scores)
    found = selector.score(numbers)
    assert list(found) == list(selector.columns)
    assert all(v.shape == (len(numbers),) and v.dtype == np.float64 for v in found.values())
    return {name: values.tolist() for name, values in found.items()}


def same(found, expected):
    np.testing.assert_array_equal(found, expected)


ANSWERS = {
    # nll(A) = 8/4 = 2, 6/4 = 1.5, 0, none, 1
    "m__answer": [(-8.0, 4), (-6.0, 4), (0.0, 2), Status.EMPTY_ANSWER, (-2.0, 2)],
    # nll(A|Q) = 4/4 = 1, 9/4 = 2.25, 0, none, none
    "m__answer_given_query": [
        (-4.0, 4),
        (-9.0, 4),
        (0.0, 2),
        Status.EMPTY_ANSWER,
        Status.TOO_LONG,
    ],
}


def test_ifd_is_a_ratio_of_perplexities():
    selector = create("ifd", model="m")
    assert selector.columns == ("ifd_ppl", "nll_answer", "nll_answer_given_query")
    assert selector.needs == (Need("m", "answer"), Need("m", "answer_given_query"))
    found = score(selector, table(**ANSWERS))
    same(found["ifd_ppl"], [np.exp(-1.0), np.exp(0.75), 1.0, NAN, NAN])
    same(found["nll_answer"], [2, 1.5, 0, NAN, 1])
    same(found["nll_answer_given_query"], [1, 2.25, 0, NAN, NAN])


def test_ifd_nll_is_a_ratio_of_losses_undefined_for_a_certain_answer():
    selector = create("ifd", model="m", variant="ifd_nll")
    assert selector.columns[0] == "ifd_nll"
    found = score(selector, table(**ANSWERS))
    same(found["ifd_nll"], [0.5, 1.5, NAN, NAN, NAN])


def test_rmi():
    found = score(
        create("rmi", model="m"),
        table(
            m__query=[(-6.0, 2), (-6.0, 4), Status.EMPTY_QUERY, (-3.0, 3)],
            m__query_given_answer=[(-1.0, 2), (-7.0, 4), Status.EMPTY_QUERY, Status.TOO_LONG],
        ),
    )
    same(found["rmi"], [2.5, -0.25, NAN, NAN])
    same(found["nll_query"], [3, 1.5, NAN, 1])
    same(found["nll_query_given_answer"], [0.5, 1.75, NAN, NAN])


PAIRS = {
    # One token each, so nll = -logprob. Row 4 is missing on the weak side only.
    # strong: nll(Q) 1 2 3 4 9; rmi 0.5 1.5 1 3 9
    "s__query": [(-1.0, 1), (-2.0, 1), (-3.0, 1), (-4.0, 1), (-9.0, 1)],
    "s__query_given_answer": [(-0.5, 1), (-0.5, 1), (-2.0, 1), (-1.0, 1), (0.0, 1)],
    # weak: nll(Q) 4 3 2 1; rmi 1 2 0 0
    "w__query": [(-4.0, 1), (-3.0, 1), (-2.0, 1), (-1.0, 1), (-1.0, 1)],
    "w__query_given_answer": [(-3.0, 1), (-1.0, 1), (-2.0, 1), (-1.0, 1), Status.TOO_LONG],
}


def test_disagreement_on_stratified_ranks():
    found = score(create("disagreement", strong="s", weak="w", bins=2), table(**PAIRS))
    # Strong bins {0, 1} and {2, 3}, weak bins {2, 3} and {0, 1}; the fifth row is in none.
    same(found["strong_rank"], [0.25, 0.75, 0.25, 0.75, NAN])
    same(found["weak_rank"], [0.25, 0.75, 0.5, 0.5, NAN])
    same(found["diff"], [0, 0, -0.25, 0.25, NAN])


def test_disagreement_on_global_ranks_and_sums():
    options = {"strong": "s", "weak": "w", "ranks": "global"}
    found = score(create("disagreement", **options), table(**PAIRS))
    same(found["strong_rank"], [0.125, 0.625, 0.375, 0.875, NAN])
    same(found["weak_rank"], [0.625, 0.875, 0.25, 0.25, NAN])
    same(found["diff"], [-0.5, -0.25, 0.125, 0.625, NAN])
    found = score(create("disagreement", **options, arm="sum_high"), table(**PAIRS))
    same(found["sum"], [0.75, 1.5, 0.625, 1.125, NAN])


def test_disagreement_needs_two_models():
    with pytest.raises(ValidationError, match="must be two models"):
        create("disagreement", strong="one", weak="one")
    assert fields_marked(component("disagreement").config, MODEL_NAME) == ["strong", "weak"]


def test_disagreement_of_nothing():
    selector = create("disagreement", strong="s", weak="w")
    assert score(selector, table(**{name: [] for name in PAIRS}))["diff"] == []


def test_perplexity_of_each_likelihood():
    for name in ("answer", "query", "answer_given_query", "query_given_answer"):
        selector = create("perplexity", model="m", of=name)
        assert selector.needs == (Need("m", name),)
        found = score(selector, table(**{f"m__{name}": [(-3.0, 2), Status.NOT_FINITE]}))
        same(found["nll"], [1.5, NAN])
        same(found["perplexity"], [np.exp(1.5), NAN])


def test_perplexity_of_both_weighs_by_tokens():
    found = score(
        create("perplexity", model="m", of="both"),
        table(
            m__query=[(-1.0, 1), (-1.0, 1), Status.EMPTY_QUERY],
            m__answer_given_query=[(-6.0, 3), Status.TOO_LONG, (-1.0, 1)],
        ),
    )
    same(found["nll"], [7 / 4, NAN, NAN])
    same(found["perplexity"], [np.exp(7 / 4), NAN, NAN])


def record(query, answer, ordinal=0):
    return Record(f"r{ordinal}", query, answer, b"", Origin("made up", ordinal))


@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({}, 17),
        ({"of": "query"}, 6),
        ({"of": "answer"}, 11),
        ({"unit": "words"}, 5),
        ({"unit": "lines"}, 3),
        ({"of": "answer", "unit": "lines"}, 2),
    ],
)
def test_length(options, length):
    selector = create("length", **options)
    assert isinstance(selector, Measures)
    assert not isinstance(selector, Scores)
    assert selector.measure(record("dé fg\n", "one two\nabc")) == {"length": float(length)}


def test_length_of_nothing_is_0():
    for unit in ("characters", "words", "lines"):
        assert create("length", unit=unit).measure(record("", "")) == {"length": 0.0}


def draw(seed, query, answer, ordinal=0):
    return create("random", seed=seed).measure(record(query, answer, ordinal))["random"]


def test_random_is_the_documented_hash():
    parts = b"".join(len(p).to_bytes(8, "little") + p for p in (b"7", b"q", b"a"))
    number = int.from_bytes(blake2b(parts, digest_size=8).digest(), "little")
    assert draw(7, "q", "a") == math.floor(number / 2**11) / 2**53


def test_random_depends_on_seed_and_text_alone():
    assert draw(1, "q", "a") == draw(1, "q", "a", ordinal=99)
    assert len({draw(1, "q", "a"), draw(2, "q", "a"), draw(1, "qa", ""), draw(1, "a", "q")}) == 4
    assert 0 <= draw(0, "half a pair: \ud800", "") < 1
    assert fields_marked(component("random").config, RUN_SEED) == ["seed"]
    with pytest.raises(ValidationError):
        create("random")


def test_random_is_uniform_enough():
    numbers = np.array([draw(3, str(i), "a") for i in range(2000)])
    assert ((numbers >= 0) & (numbers < 1)).all()
    counts = np.bincount((numbers * 10).astype(int), minlength=10)
    assert counts.min() > 150


@pytest.mark.parametrize("name", NAMES)
def test_a_selector_is_one_short_file_with_its_formula_first(name):
    module = importlib.import_module(f"qaqfilter_{name}.selector")
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    assert " = " in module.__doc__.splitlines()[0]
    imports = [line for line in text.splitlines() if line.startswith("from qaqfilter")]
    assert all(line.startswith("from qaqfilter import") for line in imports)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_strict_and_described(name):
    config = component(name).config
    assert all(field.description for field in config.model_fields.values())
    with pytest.raises(ValidationError, match="Extra inputs"):
        config.model_validate({"modle": "m", "model": "m", "strong": "s", "weak": "w", "seed": 0})
