"""AUC, cuts of an equal cost, and the bootstrap, against counts by hand and by brute force."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qaqfilter_calibrate.statistics import (
    Cuts,
    Draws,
    auc,
    caught_by,
    choose,
    middle,
    rank_cuts,
    value_cuts,
)
from qaqfilter_calibrate.suggesting import as_yaml

NULL = float("nan")
NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, NULL]) | st.floats(-5, 5)
COLUMNS = st.lists(NUMBERS, min_size=1, max_size=25).map(np.array)


@given(COLUMNS, COLUMNS)
def test_auc_is_the_count_over_all_pairs(clean, damaged):
    pairs = [
        1.0 if c > d else 0.5 if c == d else 0.0
        for c, d in product(clean, damaged)
        if not math.isnan(c) and not math.isnan(d)
    ]
    assume(pairs)
    assert auc(clean, damaged) == pytest.approx(sum(pairs) / len(pairs), abs=1e-15)


@pytest.mark.parametrize(("clean", "damaged"), [([], [1.0]), ([1.0], [NULL]), ([NULL], [])])
def test_auc_of_nothing_is_nothing(clean, damaged):
    assert math.isnan(auc(np.array(clean), np.array(damaged)))


def kept_by(low, high, values):
    return (values >= low) & (values <= high)


@given(COLUMNS, st.sampled_from([0.05, 0.1, 0.29, 0.5]))
def test_no_cut_costs_more_than_it_may(clean, cost):
    nulls = int(np.isnan(clean).sum())
    for low, high in zip(*value_cuts(clean, cost), strict=True):
        lost = int((~kept_by(low, high, clean)).sum())
        assert lost <= max(nulls, math.floor(cost * len(clean) + 1e-9))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.sampled_from([0.05, 0.1, 0.3]))
def test_no_cut_of_ranks_costs_more_than_it_may(numbers, cost):
    clean = (np.array(numbers) - 0.5) / 20
    cuts = rank_cuts(clean, cost)
    assert len(cuts.low)
    for low, high in zip(*cuts, strict=True):
        assert (~kept_by(low, high, clean)).sum() <= math.floor(cost * len(clean) + 1e-9)


@given(COLUMNS, COLUMNS, st.sampled_from([0.1, 0.3]))
def test_what_a_cut_catches_is_the_count(clean, damaged, cost):
    cuts = value_cuts(clean, cost)
    found = caught_by(cuts, damaged)
    expected = [(~kept_by(low, high, damaged)).mean() for low, high in zip(*cuts, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_cuts_of_values_by_hand():
    cuts = value_cuts(np.arange(10.0), 0.2)
    assert list(zip(cuts.low.tolist(), cuts.high.tolist(), strict=True)) == [
        (-math.inf, 7.5),
        (0.0, 7.5),
        (0.5, 8.5),
        (1.5, 9.0),
        (1.5, math.inf),
    ]


def test_equal_values_stay_together():
    cuts = value_cuts(np.array([1.0, 1, 1, 2, 3, 4, 5, 6, 7, 8]), 0.2)
    assert cuts.ends().low.tolist() == [-math.inf, 1.0]
    assert cuts.ends().high.tolist() == [6.5, math.inf]


def test_a_null_is_paid_for():
    clean = np.array([NULL, *np.arange(9.0)])
    assert value_cuts(clean, 0.2).ends().low.tolist() == [-math.inf, 0.5]
    assert value_cuts(clean, 0.1).ends().low.tolist() == [-math.inf, 0.0]


def test_cuts_of_ranks_are_shares():
    clean = (np.arange(100) + 0.5) / 100
    ends = rank_cuts(clean, 0.1).ends()
    assert 0.1 in ends.low
    assert np.nextafter(0.9, 0) in ends.high
    best = choose(rank_cuts(clean, 0.1), np.array([[0.01, 0.03, 0.5]]), np.ones((1, 3), bool))
    assert (best.low, best.high) == (0.1, math.inf)


def test_two_bounds_are_chosen_where_damage_is_at_both_ends():
    clean = (np.arange(100) + 0.5) / 100
    damaged = np.array([[0.02, 0.01, 0.04], [0.99, 0.97, 0.999]])
    best = choose(rank_cuts(clean, 0.1), damaged, np.ones((2, 3), bool))
    assert best.low > 0.04
    assert best.high < 0.97
    assert best.catch == 1


def test_a_damage_without_copies_does_not_count():
    clean = np.arange(10.0)
    there = np.array([[True] * 10, [False] * 10])
    best = choose(value_cuts(clean, 0.2), np.array([clean - 100, clean + 100]), there)
    assert best.catch == 1
    assert best.high == math.inf
    nobody = choose(value_cuts(clean, 0.2), np.array([clean]), np.zeros((1, 10), bool))
    assert math.isnan(nobody.catch)


def test_draws_are_those_of_the_seed():
    one, same, other = (Draws.of(50, 20, seed).places for seed in (1, 1, 2))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()
    assert one.shape == (20, 50)
    assert one.min() >= 0
    assert one.max() < 50


def test_an_interval_holds_the_middle():
    assert middle(np.arange(1001.0)) == (25, 975)
    assert middle(np.array([NULL, 3.0])) == (3, 3)
    assert middle(np.array([-math.inf] * 5 + [1.0] * 95)) == (-math.inf, 1)
    assert all(math.isnan(end) for end in middle(np.array([NULL])))


def test_an_interval_is_about_as_wide_as_theory_says():
    flags = np.arange(100) < 30
    low, high = Draws.of(100, 2000, 0).interval(lambda places: float(flags[places].mean()))
    width = 1.96 * math.sqrt(0.3 * 0.7 / 100)
    assert low == pytest.approx(0.3 - width, abs=0.02)
    assert high == pytest.approx(0.3 + width, abs=0.02)


def test_a_rule_is_written_as_yaml_that_holds_numbers():
    from ruamel.yaml import YAML

    for keep in ({"min": 0.123456, "max": 1e-7}, {"rank": [0.0, 0.95]}, {"max": 123456.0}):
        found = YAML(typ="safe").load(as_yaml(keep))["keep"]
        assert list(found) == list(keep)
        for name, bound in keep.items():
            assert found[name] == pytest.approx(bound, rel=1e-3)


def test_no_bound_at_all_catches_nulls_only():
    cuts = Cuts(np.array([-math.inf]), np.array([math.inf]))
    assert caught_by(cuts, np.array([1.0, NULL])).tolist() == [0.5]
