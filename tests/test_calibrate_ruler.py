"""The frozen ruler: what is placed gets a clean record's rank and fate, and moves nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qaqfilter import fractional_ranks
from qaqfilter.groups import Group
from qaqfilter.keep import Keep, decide, stratum_groups
from qaqfilter.quotas import Quotas
from qaqfilter_calibrate.ruler import Judged, Ruler

NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, float("nan")]) | st.floats(-3, 3)
KEEPS = st.sampled_from(
    [
        {"min": 0.5},
        {"above": 0.5, "below": 2},
        {"max": 1, "invert": True},
        {"rank": [0.2, 0.8]},
        {"rank": [0.0, 0.9], "min": 0},
        {"rank": [0.3, 1.0], "of": "input", "max": 1.5},
        {"top": 3},
        {"top": 100},
        {"fraction": 0.5},
        {"fraction": 0.05},
        {"fraction": 0.5, "of": "input", "min": 0.25},
        {"fraction": 0.4, "rank": [0.0, 0.7], "invert": True},
        {"quota": 1},
        {"quota": 0.5},
        {"quota": {"a": 2, "else": "all"}, "min": 0},
    ]
)
WORDS = ["a", "b", None]


@st.composite
def cases(draw):
    """A keep rule, and clean rows with or without strata and groups."""
    keep = Keep.model_validate(draw(KEEPS))
    size = draw(st.integers(1, 30))
    values = np.array(draw(st.lists(NUMBERS, min_size=size, max_size=size)))
    by = codes = None
    if not keep.per_record and draw(st.booleans()):
        by = np.array(draw(st.lists(NUMBERS, min_size=size, max_size=size)))
    if keep.quota is not None or (not keep.per_record and draw(st.booleans())):
        codes = np.array(draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    return keep, Judged(values, np.arange(size), by, codes), draw(st.integers(1, 4))


def decided(keep, rows, bins):
    """What a run decides over these rows, and their ranks."""
    groups = stratum_groups(rows.by, bins, rows.codes)
    quotas = None if keep.quota is None else Quotas.of(keep.quota, Group(rows.codes, WORDS))
    nothing = np.zeros(len(rows.values), dtype=np.int64)
    kept = decide(keep, rows.values, ("undefined",), nothing, groups, quotas=quotas).kept
    return kept, groups


def taken(rows, which):
    return Judged(
        rows.values[which],
        rows.order[which],
        None if rows.by is None else rows.by[which],
        None if rows.codes is None else rows.codes[which],
    )


def ruler_of(keep, clean, bins):
    return Ruler(keep, clean, bins=bins, words=WORDS)


@given(cases())
def test_a_clean_row_gets_its_own_fate_back(case):
    keep, clean, bins = case
    kept, _ = decided(keep, clean, bins)
    assert ruler_of(keep, clean, bins).place(clean).kept.tolist() == kept.tolist()


@given(cases())
def test_a_clean_row_gets_its_own_rank_back(case):
    keep, clean, bins = case
    ranked = np.ones(len(clean.values), dtype=bool)
    if keep.of == "survivors":
        bounds = {n: getattr(keep, n) for n in ("min", "max", "above", "below")}
        if any(bound is not None for bound in bounds.values()):
            ranked, _ = decided(Keep(**bounds), clean, bins)
    _, groups = decided(keep, clean, bins)
    expected = fractional_ranks(np.where(ranked, clean.values, np.nan), groups)
    found = ruler_of(keep, clean, bins).place(clean)
    here = ~np.isnan(expected)
    assert found.rank[here].tolist() == expected[here].tolist()
    assert found.inside[here].tolist() == expected[here].tolist()


@given(cases(), st.data())
def test_what_is_placed_changes_nothing_else(case, data):
    keep, clean, bins = case
    others, number = data.draw(cases()), data.draw(st.integers(1, 5))
    rows = others[1]
    size = len(rows.values)
    if clean.by is not None or clean.codes is not None:
        rows = replace(
            rows,
            by=None if clean.by is None else np.resize(clean.by, size)[::-1].copy(),
            codes=None if clean.codes is None else np.resize(clean.codes, size)[::-1].copy(),
        )
    else:
        rows = replace(rows, by=None, codes=None)
    ruler = ruler_of(keep, clean, bins)
    together = ruler.place(rows)
    for row in range(min(size, number)):
        alone = ruler.place(taken(rows, [row]))
        assert alone.kept[0] == together.kept[row]
        assert np.array_equal(alone.rank[0], together.rank[row], equal_nan=True)
    assert ruler.place(clean).kept.tolist() == decided(keep, clean, bins)[0].tolist()


def judged(*values, **more):
    values = np.array(values, dtype=np.float64)
    return Judged(values, more.pop("order", np.arange(len(values))), **more)


def test_between_two_clean_rows_stands_between_their_ranks():
    ruler = Ruler(Keep(rank=(0.3, 0.7)), judged(1, 2, 3, 4))
    placed = ruler.place(judged(0, 1, 1.5, 2, 2.5, 9, np.nan))
    assert placed.rank[:-1].tolist() == [0, 0.125, 0.25, 0.375, 0.5, 1]
    assert np.isnan(placed.rank[-1])
    assert placed.kept.tolist() == [False, False, False, True, True, False, False]


def test_an_open_end_of_a_rank_stays_open():
    ruler = Ruler(Keep(rank=(0.0, 0.9)), judged(1, 2, 3, 4))
    placed = ruler.place(judged(-100, 100))
    assert placed.inside.tolist() == [0.125, 0.875]
    assert placed.kept.tolist() == [True, True]


def test_bin_edges_are_the_clean_ones():
    clean = judged(1, 2, 10, 20, by=np.array([0.0, 1.0, 2.0, 3.0]))
    ruler = Ruler(Keep(rank=(0.5, 1.0)), clean, bins=2)
    copies = judged(1.5, 1.5, 15, 15, by=np.array([-50.0, 2.0, 1.99, 50.0]))
    assert ruler.place(copies).rank.tolist() == [0.5, 0, 1, 0.5]


def test_a_cut_is_that_of_the_clean_rows():
    ruler = Ruler(Keep(fraction=0.5), judged(1, 2, 3, 4))
    assert ruler.place(judged(2.9, 3, 3.5, 100)).kept.tolist() == [False, True, True, True]


def test_where_a_cut_runs_through_equal_values_the_place_decides():
    ruler = Ruler(Keep(top=2), judged(5, 5, 5, 1))
    copies = judged(5, 5, 5, order=np.array([0, 1, 2]))
    assert ruler.place(copies).kept.tolist() == [True, True, False]


def test_where_nothing_was_cut_nothing_is():
    assert Ruler(Keep(top=4), judged(1, 2, 3, 4)).place(judged(-9)).kept.tolist() == [True]


@pytest.mark.parametrize(("quota", "kept"), [(1, True), (0, False), ("all", True), (0.5, False)])
def test_a_group_without_clean_rows_stands_alone(quota, kept):
    clean = judged(1, 2, codes=np.array([0, 0]))
    ruler = Ruler(Keep.model_validate({"quota": quota}), clean, words=["a", "b"])
    placed = ruler.place(judged(7, codes=np.array([1])))
    assert placed.rank.tolist() == [0.5]
    assert placed.kept.tolist() == [kept]


def test_an_undefined_score_never_passes_even_inverted():
    ruler = Ruler(Keep(min=2, invert=True), judged(1, 2, 3))
    assert ruler.place(judged(np.nan, 0, 5)).kept.tolist() == [False, True, False]
