"""Selectors of the likelihood family: nulls, refusals, conversations; hand counts are elsewhere."""

import json
import math

import numpy as np
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
