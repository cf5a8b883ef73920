"""Selectors of the likelihood family: nulls, refusals, conversations; hand counts are elsewhere."""

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import qaqfilter
from qaqfilter import LikelihoodColumn, Need, Origin, RecipeError, Record, Status, Table, UsageError
from test_selectors import create, same, score, table

NAN = math.nan
GIVEN = {
    "m__query": [(-6.0, 2), (0.0, 2), (-1.0, 1), Status.EMPTY_QUERY],
    "m__query_given_answer": [(-3.0, 2), (-2.0, 2), Status.TOO_LONG, Status.EMPTY_QUERY],
    "m__answer": [(-8.0, 4), (-2.0, 4), (-1.0, 1), (-1.0, 1)],
    "m__answer_given_query": [(-4.0, 4), (-4.0, 4), (-3.0, 1), Status.EMPTY_QUERY],
}


def test_rifd_and_its_variant():
    found = score(create("rifd", model="m"), table(**GIVEN))
    same(found["rifd_ppl"], [np.exp(-1.5), np.exp(1.0), NAN, NAN])
    found = score(create("rifd", model="m", variant="rifd_nll"), table(**GIVEN))
    same(found["rifd_nll"], [0.5, NAN, NAN, NAN])  # nll(Q) of the second is 0


def test_pmi_by_record_and_by_token():
    same(score(create("pmi", model="m"), table(**GIVEN))["pmi"], [4, -2, -2, NAN])
    found = score(create("pmi", model="m", per="token"), table(**GIVEN))
    same(found["pmi_per_token"], [1, -0.5, -2, NAN])
    found = score(create("pmi", model="m", of="query"), table(**GIVEN))
    same(found["pmi"], [3, -2, NAN, NAN])


def test_coder_reviewer_by_record_and_by_token():
    found = score(create("coder_reviewer", model="m"), table(**GIVEN))
    same(found["coder_reviewer"], [-7, -6, NAN, NAN])
    found = score(create("coder_reviewer", model="m", per="token"), table(**GIVEN))
    same(found["coder_reviewer_per_token"], [-2.5, -2, NAN, NAN])


@pytest.mark.parametrize(
    ("band", "nearness", "kept"),
    [
        ("low", [0.875, 0.375, 0.625, 0.125], [0, 2]),
        ("mid", [0.25, 0.75, 0.75, 0.25], [1, 2]),
        ("high", [0.125, 0.625, 0.375, 0.875], [1, 3]),
    ],
)
def test_bands_of_perplexity(band, nearness, kept):
    numbers = table(m__answer=[(-1.0, 1), (-3.0, 1), (-2.0, 1), (-9.0, 1), Status.EMPTY_ANSWER])
    selector = create("perplexity", model="m", band=band)
    assert selector.columns == (band, "perplexity", "nll")
    found = score(selector, numbers)[band]
    same(found, [*nearness, NAN])
    half = sorted(range(4), key=lambda row: -found[row])[:2]
    assert sorted(half) == kept


def record(query, answer, **more):
    return Record("r", query, answer, b"", Origin("made up", 0), **more)


def test_bytes_are_those_of_utf_8():
    measure = create("bits_per_byte", model="m", of="both").measure
    assert measure(record("ä", "漢x")) == {"bytes": 6.0}
    assert measure(record("", "\ud800")) == {"bytes": 3.0}


def bits_table(cells, sizes, rows=None, **columns):
    numbers = table(m__answer=cells)
    rows = np.arange(len(cells)) if rows is None else np.array(rows)
    counts = np.unique(rows, return_counts=True)[1]
    return Table(
        rows,
        numbers.likelihoods,
        {"bytes": np.array(sizes, dtype=np.float64), **columns},
        counts=counts if len(counts) < len(rows) else None,
        how="mean",
    )


def test_bits_per_byte_and_its_nulls():
    selector = create("bits_per_byte", model="m")
    bit = math.log(2)
    cells = [(-8 * bit, 3), (-bit, 1), Status.TOO_LONG, (-bit, 1)]
    cut = {"m.cut": np.array([0.0, 0, 0, 7])}
    found = selector.score(bits_table(cells, [4, 0, 4, 4], **cut))["bits_per_byte"]
    same(found, [2.0, NAN, NAN, NAN])


def test_bits_per_byte_of_a_conversation_is_a_ratio_of_sums():
    """Two exchanges of 2 and 6 bits in 4 bytes together, and a record of one exchange."""
    bit = math.log(2)
    numbers = bits_table([(-2 * bit, 1), (-6 * bit, 2), (-3 * bit, 1)], [4, 4, 3], rows=[5, 5, 9])
    same(create("bits_per_byte", model="m").score(numbers)["bits_per_byte"], [2.0, 1.0])


@pytest.mark.parametrize("prompt", [{}, {"prompt": {"use": "plain"}}])
def test_bits_per_byte_of_an_answer_that_was_cut(tmp_path, monkeypatch, prompt):
    """Null whatever the prompt's name for it; a query is never cut."""
    monkeypatch.setattr("qaqfilter_ngram.backend.NgramBackend.max_length", 60)
    rows = [{"query": "add", "answer": "a + b " * n} for n in (1, 20)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = [
        {"id": of, "use": "bits_per_byte", "of": of, **prompt}
        for of in ("answer", "both", "query", "query_given_answer")
    ]
    recipe = {
        "version": 1,
        "name": "cut",
        "input": {"use": "jsonl", "path": "data.jsonl"},
        "models": {"m": {"use": "ngram", "too_long": "cut_answer"}},
        "steps": steps,
        "output": {"use": "jsonl", "path": "out"},
    }
    path = tmp_path / "cut.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    table = pq.read_table(qaqfilter.run(path).files["scores"]).to_pydict()
    for of in ("answer", "both"):
        first, second = table[f"{of}.bits_per_byte"]
        assert first > 0
        assert second is None
    for of in ("query", "query_given_answer"):
        assert all(value > 0 for value in table[f"{of}.bits_per_byte"])


def test_loss_gap_needs_the_same_tokens():
    selector = create("loss_gap", model="a", reference="b")
    good = table(
        a__answer_given_query=[(-6.0, 2), Status.TOO_LONG, (-1.0, 1)],
        b__answer_given_query=[(-2.0, 2), (-1.0, 3), (-3.0, 1)],
    )
    same(score(selector, good)["loss_gap"], [2, NAN, -2])
    bad = table(a__answer_given_query=[(-1.0, 1), (-6.0, 2)], b__answer_given_query=[(-1.0, 1)] * 2)
    with pytest.raises(UsageError, match=r"'a' and 'b' make 2 and 1 tokens of the record in row 1"):
        selector.score(bad)
    with pytest.raises(ValidationError, match="must be two models"):
        create("loss_gap", model="a", reference="a")


def test_combine_ranks_what_has_every_column():
    columns = {"a.x": np.array([5.0, 1, 3, NAN]), "b.y": np.array([1.0, NAN, 2, 3])}
    numbers = Table(np.arange(4), {}, columns)
    found = create("combine", of={"a.x": 3, "b.y": -1}).score(numbers)["combined"]
    # Rows 0 and 2 are ranked: 0.75 and 0.25 by x, 0.25 and 0.75 by y.
    same(found, [(3 * 0.75 - 0.25) / 4, NAN, (3 * 0.25 - 0.75) / 4, NAN])


def test_combine_wants_columns_of_earlier_steps(tmp_path):
    def problems(of):
        recipe = {
            "version": 1,
            "name": "mix",
            "input": {"use": "jsonl", "path": "data.jsonl"},
            "models": {"m": {"use": "ngram"}},
            "steps": [
                {"id": "ifd", "use": "ifd"},
                {"id": "mix", "use": "combine", "of": of},
                {"id": "rmi", "use": "rmi"},
            ],
            "output": {"use": "jsonl", "path": "out"},
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(recipe), encoding="utf-8")
        with pytest.raises(RecipeError) as caught:
            qaqfilter.load_recipe(path)
        return str(caught.value)

    (tmp_path / "data.jsonl").write_text('{"query": "q", "answer": "a"}\n')
    said = problems({"ifd.ifd_pl": 1})
    assert "steps.mix.of.ifd.ifd_pl" in said or "steps.1.of" in said
    assert "did you mean 'ifd.ifd_ppl'" in said
    assert "no column 'rmi.rmi'" in problems({"rmi.rmi": 1})
    assert "is 0: leave it out" in problems({"ifd.ifd_ppl": 0})
    assert "at least 1 item" in problems({})


def test_needs():
    assert create("pmi", model="m", of="query").needs == (
        Need("m", "query"),
        Need("m", "query_given_answer"),
    )
    assert create("combine", of={"a.b": 1}).needs == ()
    assert create("loss_gap", model="a", reference="b", of="query").needs == (
        Need("a", "query"),
        Need("b", "query"),
    )


def test_every_name_is_looked_at():
    """A likelihood that does not exist makes null, whichever of a selector's it is."""
    for name, options in {
        "rifd": {},
        "pmi": {},
        "coder_reviewer": {},
        "perplexity": {"of": "both"},
    }.items():
        selector = create(name, model="m", **options)
        for lost in selector.needs:
            columns = {
                f"m.{need.likelihood}": (
                    LikelihoodColumn.empty(1)
                    if need == lost
                    else LikelihoodColumn(np.array([-1.0]), np.array([1]), np.array([0]))
                )
                for need in selector.needs
            }
            found = selector.score(Table(np.arange(1), columns))
            assert np.isnan(found[selector.columns[0]][0]), (name, lost)


def gap_recipe(tmp_path, reference, **more):
    path = tmp_path / "gap.yaml"
    (tmp_path / "data.jsonl").write_text('{"query": "add", "answer": "a + b"}\n' * 3)
    recipe = {
        "version": 1,
        "name": "gap",
        "input": {"use": "jsonl", "path": "data.jsonl"},
        "models": {"small": {"use": "ngram"}, "large": reference},
        "steps": [{"id": "gap", "use": "loss_gap", "model": "small", "reference": "large"}],
        "output": {"use": "jsonl", "path": "out"},
        **more,
    }
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


REFUSED = r"'small' and 'large' cut text into other tokens"


def test_two_tokenizers_are_refused_at_once(tmp_path):
    """By `run` and `preview`: before the second model has scored more than a window."""
    path = gap_recipe(tmp_path, {"use": "reference", "model": "builtin:weak"})
    with pytest.raises(UsageError, match=REFUSED):
        qaqfilter.run(path)
    with pytest.raises(UsageError, match=REFUSED):
        qaqfilter.preview(path)
    assert qaqfilter.run(gap_recipe(tmp_path, {"use": "ngram", "order": 1})).kept == 3


def test_two_tokenizers_are_refused_before_anything_is_scored(tmp_path, monkeypatch):
    scored = []
    monkeypatch.setattr(
        "qaqfilter_ngram.backend.NgramBackend.logprobs", lambda *_: scored.append(1)
    )
    for prompt in ({}, {"prompt": {"use": "plain"}}):
        step = {"id": "gap", "use": "loss_gap", "model": "small", "reference": "large"}
        path = gap_recipe(
            tmp_path, {"use": "reference", "model": "builtin:weak"}, steps=[step | prompt]
        )
        with pytest.raises(UsageError, match=REFUSED):
            qaqfilter.score_recipe(path)
    assert not scored


def test_two_tokenizers_are_refused_where_no_model_is_loaded(tmp_path):
    """By `select`, whose run had another step, which asked both models."""
    reference = {"use": "reference", "model": "builtin:weak"}
    steps = [{"id": f"of_{m}", "use": "perplexity", "model": m} for m in ("small", "large")]
    qaqfilter.score_recipe(gap_recipe(tmp_path, reference, steps=steps))
    gap = {"id": "gap", "use": "loss_gap", "of": "answer", "model": "small", "reference": "large"}
    path = gap_recipe(tmp_path, reference, steps=[*steps, gap])
    with pytest.raises(UsageError, match=REFUSED):
        qaqfilter.select_recipe(path)


def test_two_tokenizers_are_refused_in_a_table():
    pairs = [{"query": "add two numbers", "answer": "return a + b"}]
    models = {"small": {"use": "ngram"}, "large": {"use": "reference", "model": "builtin:weak"}}
    numbers = qaqfilter.score(pairs, models=models)
    step = {"id": "gap", "use": "loss_gap", "model": "small", "reference": "large"}
    with pytest.raises(UsageError, match=r"make 12 and .* tokens of the record in row 0"):
        qaqfilter.select(numbers, [step])


def test_one_tokenizer_through_two_backends(tmp_path):
    """The digest tells tokenizers apart, and not backends."""
    model = {"model": "builtin:strong"}
    backends = [{"use": "reference"}, {"use": "llamacpp"}, {"use": "transformers"}]
    found = set()
    for backend in [*backends, {"use": "ngram"}]:
        options = backend if backend["use"] == "ngram" else backend | model
        path = gap_recipe(
            tmp_path,
            {"use": "ngram"},
            models={"m": options},
            steps=[{"id": "p", "use": "perplexity", "model": "m"}],
            output={"use": "jsonl", "path": f"out-{backend['use']}"},
        )
        (report,) = qaqfilter.run(path).models
        assert len(report.tokenizer) == 32
        found.add(report.tokenizer)
    assert len(found) == 2
