"""Ranks and bins, against the slowest code that could be right."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qaqfilter.ranking import equal_count_bins, fractional_ranks

NAN = math.nan
# Few distinct numbers, so that ties are common; infinities are ordinary values.
numbers = st.one_of(st.integers(-3, 3).map(float), st.just(NAN), st.just(math.inf), st.floats())
columns = st.lists(numbers, max_size=40)
bin_counts = st.integers(1, 12)


def oracle_bins(values, bins):
    known = sorted(v for v in values if not math.isnan(v))
    n = len(known)
    positions = [math.ceil(Fraction(k * n, bins)) for k in range(1, bins)]
    edges = [known[p] for p in positions if p < n]
    return [-1 if math.isnan(v) else sum(edge <= v for edge in edges) for v in values]


def oracle_ranks(values, groups):
    answer = []
    for value, group in zip(values, groups, strict=True):
        peers = [v for v, g in zip(values, groups, strict=True) if g == group and not math.isnan(v)]
        if math.isnan(value) or group < 0:
            answer.append(NAN)
            continue
        ranks = [i + 1 for i, v in enumerate(sorted(peers)) if v == value]
        mean = Fraction(sum(ranks), len(ranks))
        answer.append(float((mean - Fraction(1, 2)) / len(peers)))
    return answer


@given(columns, bin_counts)
def test_bins_agree_with_the_oracle(values, bins):
    assert equal_count_bins(np.array(values), bins).tolist() == oracle_bins(values, bins)


@given(st.lists(st.tuples(numbers, st.integers(-1, 3)), max_size=40))
def test_ranks_agree_with_the_oracle_to_the_last_bit(rows):
    values = [value for value, _ in rows]
    groups = [group for _, group in rows]
    found = fractional_ranks(np.array(values, dtype=float), np.array(groups, dtype=np.int64))
    np.testing.assert_array_equal(found, oracle_ranks(values, groups))
    found = fractional_ranks(np.array(values, dtype=float))
    np.testing.assert_array_equal(found, oracle_ranks(values, [0] * len(values)))


@given(columns, bin_counts, st.randoms())
def test_a_permutation_permutes_the_answer(values, bins, random):
    order = list(range(len(values)))
    random.shuffle(order)
    column = np.array(values)
    shuffled = column[order] if order else column
    np.testing.assert_array_equal(
        equal_count_bins(shuffled, bins), equal_count_bins(column, bins)[order or slice(0)]
    )
    np.testing.assert_array_equal(
        fractional_ranks(shuffled), fractional_ranks(column)[order or slice(0)]
    )


@given(st.lists(st.integers(-1000, 1000), max_size=40), bin_counts)
def test_a_monotone_transform_changes_nothing(values, bins):
    column = np.array(values, dtype=float)
    transformed = column**3 + 2 * column - 5
    np.testing.assert_array_equal(fractional_ranks(transformed), fractional_ranks(column))
    np.testing.assert_array_equal(
        equal_count_bins(transformed, bins), equal_count_bins(column, bins)
    )


@given(st.lists(st.integers(), unique=True, max_size=60).filter(lambda v: max(v, default=0) < 1e9))
def test_without_ties_bins_differ_by_at_most_one_record(values):
    values = [v for v in values if abs(v) < 2**53]
    sizes = np.bincount(equal_count_bins(np.array(values, dtype=float), 4), minlength=4)
    assert sizes.sum() == len(values)
    assert sizes.max() - sizes.min() <= 1


@given(columns)
def test_ranks_lie_strictly_between_0_and_1_and_centre_on_a_half(values):
    ranks = fractional_ranks(np.array(values))
    known = ranks[~np.isnan(ranks)]
    assert ((known > 0) & (known < 1)).all()
    if len(known):
        assert known.mean() == pytest.approx(0.5)


def test_examples_by_hand():
    assert equal_count_bins(np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist() == [0, 0, 1, 1]
    # The edge is s[2] = 2: all the twos go to the upper bin.
    assert equal_count_bins(np.array([1.0, 2.0, 2.0, 3.0]), 2).tolist() == [0, 1, 1, 1]
    # Three values, ten bins: edges s[1] (three times), s[2] (three times), then none.
    assert equal_count_bins(np.array([7.0, 8.0, 9.0]), 10).tolist() == [0, 3, 6]
    assert len(set(equal_count_bins(np.full(9, 5.0), 4).tolist())) == 1
    assert equal_count_bins(np.array([NAN, 5.0]), 3).tolist() == [-1, 0]
    assert fractional_ranks(np.array([10.0, 30.0, 20.0, 20.0])).tolist() == [1 / 8, 7 / 8, 0.5, 0.5]
    assert fractional_ranks(np.array([3.0])).tolist() == [0.5]
    assert fractional_ranks(np.full(3, 2.0)).tolist() == [0.5] * 3
    assert fractional_ranks(np.array([-0.0, 0.0])).tolist() == [0.5, 0.5]


def test_the_empty_column():
    nothing = np.array([], dtype=float)
    assert equal_count_bins(nothing, 3).tolist() == []
    assert fractional_ranks(nothing).tolist() == []
    assert fractional_ranks(nothing, np.array([], dtype=np.int64)).tolist() == []


def test_bins_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        equal_count_bins(np.array([1.0]), 0)


def test_inputs_are_left_alone():
    values = np.array([3.0, NAN, 1.0])
    groups = np.array([0, 0, 1])
    values.flags.writeable = groups.flags.writeable = False
    equal_count_bins(values, 2)
    fractional_ranks(values, groups)
