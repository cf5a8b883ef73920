"""S-IFD: by hand, against the published script's formula, and its threshold against sorting."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import qaqfilter
from qaqfilter import QaqfilterError, Table, TokenLogprobs, nth_smallest
from qaqfilter import tokens as tokens_module
from test_hand_count import RECORDS
from test_hand_count import likelihood as by_fractions
from test_selectors import column, create

NAN = math.nan


def table(alone, given):
    """Log-probabilities of the answer's tokens for each row; None where there are none."""
    columns, tokens = {}, {}
    for name, rows in (("m.answer", alone), ("m.answer_given_query", given)):
        missing = qaqfilter.Status.EMPTY_QUERY
        columns[name] = column([missing if r is None else (sum(r), len(r)) for r in rows])
        tokens[name] = TokenLogprobs.of([np.array(r or [], dtype=np.float32) for r in rows])
    return Table(np.arange(len(alone)), columns, tokens=tokens)


def score(numbers, **options):
    found = create("s_ifd", model="m", **options).score(numbers)
    assert [*found] == ["s_ifd", "kept_share"]
    return found["s_ifd"], found["kept_share"]


# --- by hand


def test_by_hand():
    """|d| of all six tokens: 0.25 0.5 1 2 4 8; half of them lie above 1, the third."""
    alone = [[-1.0, -2.0], [-5.0, -0.5], [-1.0, -10.0]]
    given = [[-1.25, -4.0], [-1.0, -1.0], [-2.0, -2.0]]
    # d = loss given the query, less the loss without: 0.25 2; -4 0.5; 1 -8
    s_ifd, share = score(table(alone, given))
    np.testing.assert_allclose(s_ifd, [math.exp(2.0), math.exp(-4.0), math.exp(-8.0)])
    assert share.tolist() == [0.5, 0.5, 0.5]
    # A sixth: the place is floor(5 · 5/6) = 4, so only what is above 4 counts.
    s_ifd, share = score(table(alone, given), keep_ratio=0.16)
    np.testing.assert_allclose(s_ifd, [NAN, NAN, math.exp(-8.0)])
    assert share.tolist() == [0, 0, 0.5]
    # A tenth off: floor(5 · 0.1) = 0, so all but the smallest.
    s_ifd, share = score(table(alone, given), keep_ratio=0.9)
    np.testing.assert_allclose(s_ifd, [math.exp(2.0), math.exp(-3.5 / 2), math.exp(-7.0 / 2)])
    assert share.tolist() == [0.5, 1, 1]


def test_all_tokens_are_ifd():
    numbers = table([[-1.0, -2.0], [-5.0]], [[-1.5, -1.0], [-5.0]])
    s_ifd, share = score(numbers, keep_ratio=1)
    ifd = create("ifd", model="m").score(numbers)["ifd_ppl"]
    np.testing.assert_allclose(s_ifd, ifd)
    assert share.tolist() == [1, 1]


def test_what_equals_the_threshold_does_not_count():
    """Ties at the percentile all go, as in the published script: here nothing is left."""
    s_ifd, share = score(table([[-1.0, -1.0], [-1.0]], [[-2.0, -2.0], [0.0]]))
    assert np.isnan(s_ifd).all()
    assert share.tolist() == [0, 0]


def test_rows_without_a_likelihood_are_null_and_count_for_nothing():
    s_ifd, share = score(table([[-1.0, -3.0], [-100.0], []], [[-2.0, -1.0], None, None]))
    np.testing.assert_allclose(s_ifd, [math.exp(-2.0), NAN, NAN])
    np.testing.assert_array_equal(share, [0.5, NAN, NAN])
    s_ifd, _ = score(table([None, None], [None, None]))
    assert np.isnan(s_ifd).all()


def test_a_sum_beyond_float_is_no_number():
    s_ifd, _ = score(table([[0.0, 0.0]], [[-2e3, -1e3]]))
    assert s_ifd.tolist() == [math.inf], "which the chain takes for undefined"


def test_other_tokens_on_both_sides_are_refused():
    numbers = table([[-1.0], [-1.0, -2.0]], [[-1.0], [-1.0, -2.0, -3.0]])
    with pytest.raises(QaqfilterError, match=r"in 1 records .*\(3 and 2 in the first, row 1 of"):
        score(numbers)


def test_it_needs_the_tokens():
    numbers = table([[-1.0]], [[-2.0]])
    numbers.tokens = {}
    with pytest.raises(KeyError, match=r"no column 'm\.answer'"):
        score(numbers)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.1])
def test_a_ratio_is_a_share(ratio):
    with pytest.raises(ValidationError, match="keep_ratio"):
        create("s_ifd", model="m", keep_ratio=ratio)


# --- against the published formula

cells = st.lists(st.integers(-40, 0).map(lambda n: n / 8), min_size=1, max_size=5)
rows = st.lists(
    st.tuples(cells, st.randoms()).map(
        lambda pair: (pair[0], [value - pair[1].randrange(9) / 4 for value in pair[0]])
    ),
    min_size=1,
    max_size=8,
)


@given(rows, st.sampled_from([0.05, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 0.99]))
def test_against_the_published_formula(pairs, ratio):
    """np.percentile over all tokens, strictly above it; where no token is, the script says 1."""
    deltas = [np.array(alone) - np.array(given) for alone, given in pairs]
    every = np.abs(np.concatenate(deltas))
    # Their share of 100 as a fraction: (1 - 0.9) * 100 is a hair below 10.
    exact = (len(every) - 1) * (1 - Fraction(str(ratio)))
    ordered = np.sort(every)
    low, high = ordered[int(exact)], ordered[min(int(exact) + 1, len(every) - 1)]
    threshold = low + (high - low) * float(exact - int(exact))
    np.testing.assert_allclose(threshold, np.percentile(every, (1 - ratio) * 100), atol=1e-9)
    numbers = table([alone for alone, _ in pairs], [given for _, given in pairs])
    s_ifd, share = score(numbers, keep_ratio=ratio)
    for one, delta, part in zip(s_ifd, deltas, share, strict=True):
        kept = delta[np.abs(delta) > threshold]
        expected = math.exp(kept.mean()) if len(kept) else NAN
        np.testing.assert_allclose(one, expected, rtol=1e-6)
        assert part == len(kept) / len(delta)


@given(rows, st.integers(1, 7))
def test_how_much_is_looked_at_together_changes_nothing(pairs, at_once):
    numbers = table([alone for alone, _ in pairs], [given for _, given in pairs])
    whole = score(numbers)
    with pytest.MonkeyPatch.context() as patch:
        real = TokenLogprobs.stretches
        patch.setattr(TokenLogprobs, "stretches", lambda self: real(self, at_once))
        pieces = score(numbers)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one, other)
    assert tokens_module.AT_ONCE >= 1 << 16


not_negative = st.floats(0, width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(not_negative, max_size=5), max_size=6), st.integers(0, 40))
def test_the_nth_is_that_of_the_sorted(pieces, n):
    arrays = [np.array(piece, dtype=np.float32) for piece in [*pieces, [-0.0]]]
    ordered = np.sort(np.concatenate(arrays))
    n %= len(ordered)
    assert nth_smallest(lambda: arrays, n) == ordered[n]


# --- in a run


def test_a_run_against_a_count_by_fractions(write_recipe):
    path = write_recipe("  - {id: moved, use: s_ifd}", pairs=RECORDS)
    path.write_text(
        path.read_text().replace("{use: ngram}", "{use: ngram, order: 2, add_k: 0.5, cache: 0.25}")
    )
    found = pq.read_table(qaqfilter.run(path).folder / "scores.parquet")

    def losses(text, before):
        whole = [by_fractions(text[:end], before, 2, 0.5, 0.25) for end in range(len(text) + 1)]
        return [-math.log(whole[n + 1] / whole[n]) for n in range(len(text))]

    deltas = [
        [x - y for x, y in zip(losses(a, q + "\n"), losses(a, ""), strict=True)] for q, a in RECORDS
    ]
    every = sorted(abs(delta) for row in deltas for delta in row)
    threshold = every[(len(every) - 1) // 2]
    for row, delta in enumerate(deltas):
        kept = [d for d in delta if abs(d) > threshold + 1e-6]
        assert abs(len(kept) / len(delta) - found["moved.kept_share"][row].as_py()) < 1e-12
        if kept:
            expected = pytest.approx(math.exp(sum(kept) / len(kept)), rel=1e-5)
            assert found["moved.s_ifd"][row].as_py() == expected
        else:
            assert found["moved.s_ifd"][row].as_py() is None


def test_a_record_without_such_a_token_is_undefined(write_recipe):
    """The script gives it 1, the best score there is below its bound; here it is a null."""
    path = write_recipe("  - {id: moved, use: s_ifd, keep_ratio: 0.01, keep: {top: 8}}")
    report = qaqfilter.run(path)
    assert report.kept + report.steps[0].rejected["undefined"] == 8
    assert 0 < report.kept < 8


def test_the_threshold_is_that_of_the_records_that_get_there(write_recipe):
    alone = qaqfilter.run(write_recipe("  - {id: moved, use: s_ifd}"))
    all_of_them = pq.read_table(alone.folder / "scores.parquet")["moved.s_ifd"].to_pylist()
    steps = "  - {id: sane, use: length, of: query, keep: {min: 18}}\n  - {id: moved, use: s_ifd}"
    some = qaqfilter.run(write_recipe(steps), replace=True)
    found = pq.read_table(some.folder / "scores.parquet")["moved.s_ifd"].to_pylist()
    both = [(x, y) for x, y in zip(all_of_them, found, strict=True) if y is not None]
    assert 0 < len(both) < 8
    assert any(x != y for x, y in both)
