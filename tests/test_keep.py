"""The keep vocabulary, against an oracle that knows only lists, sorting and fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qaqfilter.keep import Keep, Strata, decide, stratum_groups
from qaqfilter.ranking import fractional_ranks

NAN = math.nan
NULLS = ("ok", "too_long", "empty_query", "undefined")


def run(keep, values, groups=None, codes=None):
    values = np.array(values, dtype=float)
    codes = np.full(len(values), 3) if codes is None else np.array(codes, dtype=np.int64)
    groups = None if groups is None else np.array(groups, dtype=np.int64)
    decisions = decide(Keep.model_validate(keep), values, NULLS, codes, groups)
    assert decisions.reasons[0] == "kept"
    assert decisions.kept.tolist() == (decisions.reason == 0).tolist()
    assert np.isnan(decisions.bound[decisions.kept]).all()
    return decisions


def kept(keep, values, groups=None):
    return np.flatnonzero(run(keep, values, groups).kept).tolist()


def reasons(decisions):
    return [decisions.reasons[code] for code in decisions.reason]


# ---------------------------------------------------------------- the oracle


def oracle(keep, values, groups, codes):
    """(reason, value, bound) of each row; None for NaN."""
    n = len(values)
    out = [["kept", v, None] for v in values]
    for i, v in enumerate(values):
        if math.isnan(v):
            out[i] = [NULLS[codes[i]], None, None]
        elif groups is not None and groups[i] < 0:
            out[i] = ["no_stratum", None, None]
    judged = [i for i in range(n) if out[i][0] == "kept"]
    for i in judged:
        v = values[i]
        for name, bad in (
            ("min", lambda b, v=v: v < b),
            ("above", lambda b, v=v: v <= b),
            ("max", lambda b, v=v: v > b),
            ("below", lambda b, v=v: v >= b),
        ):
            bound = keep.get(name)
            if bound is not None and bad(bound):
                out[i] = [name, v, bound]
                break

    def left():
        return [i for i in judged if out[i][0] == "kept"]

    ranked = judged if keep.get("of") == "input" else left()
    rank = {}
    for i in ranked:
        peers = [j for j in ranked if groups is None or groups[j] == groups[i]]
        below = sum(values[j] < values[i] for j in peers)
        same = sum(values[j] == values[i] for j in peers)
        rank[i] = float(Fraction(2 * below + same, 2 * len(peers)))
    if "rank" in keep:
        low, high = keep["rank"]
        for i in left():
            reason = "kept" if low <= rank[i] < high else "rank"
            bound = None if reason == "kept" else low if rank[i] < low else high
            out[i] = [reason, rank[i], bound]
    if "top" in keep or "fraction" in keep:
        rows = left()
        key = {i: values[i] if groups is None else rank[i] for i in rows}
        total = n if keep.get("of") == "input" else len(rows)
        count = keep.get("top") or math.floor(Fraction(str(keep["fraction"])) * total)
        best = sorted(rows, key=lambda i: (-key[i], i))
        last = key[best[:count][-1]] if best[:count] else None
        for place, i in enumerate(best):
            gone = place >= count
            rule = "top" if "top" in keep else "fraction"
            out[i] = [rule if gone else "kept", key[i], last if gone else None]
    if keep.get("invert"):
        for i in judged:
            out[i][0] = "invert" if out[i][0] == "kept" else "kept"
            out[i][2] = None
    return [tuple(row) for row in out]


small = st.integers(-4, 4).map(float)


@st.composite
def keeps(draw):
    low, high = sorted(draw(st.tuples(small, small)))
    rule = {}
    if draw(st.booleans()):
        rule[draw(st.sampled_from(["min", "above"]))] = low - 0.5
    if draw(st.booleans()):
        rule[draw(st.sampled_from(["max", "below"]))] = high + draw(st.sampled_from([0.0, 1.0]))
    if draw(st.booleans()):
        lo, hi = sorted(draw(st.sets(st.sampled_from([0, 0.25, 0.3, 0.5, 0.75, 1.0]), min_size=2)))[
            :2
        ]
        rule["rank"] = [lo, hi]
    count = draw(st.sampled_from([None, "top", "fraction"]))
    if count == "top":
        rule["top"] = draw(st.integers(1, 12))
    if count == "fraction":
        rule["fraction"] = draw(st.sampled_from([0.01, 0.1, 0.29, 0.3, 0.5, 0.7, 1.0]))
    if not rule:
        rule["top"] = 2
    if set(rule) & {"top", "fraction", "rank"}:
        rule["of"] = draw(st.sampled_from(["survivors", "input"]))
    rule["invert"] = draw(st.booleans())
    return rule


rows = st.lists(
    st.tuples(st.one_of(small, st.just(NAN)), st.integers(-1, 2), st.integers(1, 3)), max_size=25
)


@given(keeps(), rows, st.booleans())
def test_agrees_with_the_oracle(keep, table, grouped):
    values = [v for v, _, _ in table]
    groups = [g for _, g, _ in table] if grouped else None
    codes = [c for _, _, c in table]
    found = run(keep, values, groups, codes)

    def plain(column):
        return [None if math.isnan(x) else x for x in column.tolist()]

    assert list(zip(reasons(found), plain(found.value), plain(found.bound), strict=True)) == oracle(
        keep, values, groups, codes
    )


@given(keeps(), rows, st.booleans())
def test_invert_is_the_complement_among_the_judged(keep, table, grouped):
    values = [v for v, _, _ in table]
    groups = [g for _, g, _ in table] if grouped else None
    straight = run({**keep, "invert": False}, values, groups)
    inverted = run({**keep, "invert": True}, values, groups)
    null = np.isnan(np.array(values, dtype=float))
    if groups is not None:
        null |= np.array(groups, dtype=np.int64) < 0
    assert not (straight.kept & null).any()
    assert not (inverted.kept & null).any()
    assert (straight.kept ^ inverted.kept)[~null].all()


@given(st.lists(small, max_size=30), st.sampled_from([0.01, 0.07, 0.29, 0.57, 0.58, 1.0]))
def test_fraction_counts_exactly_whatever_the_ties(values, fraction):
    hundredths = round(fraction * 100)
    assert len(kept({"fraction": fraction}, values)) == hundredths * len(values) // 100


@given(st.lists(st.floats(-100, 100), unique=True, max_size=30), st.randoms())
def test_without_ties_a_permutation_keeps_the_same_values(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    for keep in ({"top": 4}, {"fraction": 0.3}, {"rank": [0.2, 0.9]}):
        first = {values[i] for i in kept(keep, values)}
        assert first == {shuffled[i] for i in kept(keep, shuffled)}


@given(st.lists(st.integers(-50, 50), max_size=30))
def test_a_monotone_transform_keeps_the_same_rows(values):
    transformed = [v**3 + v for v in values]
    for keep in ({"top": 4}, {"fraction": 0.3}, {"rank": [0.2, 0.9]}):
        assert kept(keep, values) == kept(keep, transformed)


@given(st.lists(small, min_size=1, max_size=30))
def test_neighbouring_bands_share_nothing_and_miss_nothing(values):
    bands = [[0.0, 0.5], [0.5, 0.75], [0.75, 1.0]]
    found = [i for band in bands for i in kept({"rank": band}, values)]
    assert sorted(found) == list(range(len(values)))


# ---------------------------------------------------------------- by hand


def test_fraction_is_the_number_as_written():
    values = np.arange(100.0)
    assert 0.29 * 100 < 29  # why it needs care
    assert len(kept({"fraction": 0.29}, values)) == 29
    assert len(kept({"fraction": 1e-2}, values)) == 1
    assert len(kept({"fraction": 1}, values)) == 100


def test_ties_at_the_cut_fall_to_the_later_row():
    assert kept({"top": 2}, [1, 2, 2, 2]) == [1, 2]
    found = run({"top": 2}, [1, 2, 2, 2])
    assert reasons(found) == ["top", "kept", "kept", "top"]
    assert found.bound.tolist()[3] == 2.0


def test_the_first_bound_that_fails_gives_the_reason():
    found = run({"min": 2, "max": 4}, [1, 2, 4, 5, NAN], codes=[3, 3, 3, 3, 1])
    assert reasons(found) == ["min", "kept", "kept", "max", "too_long"]
    np.testing.assert_array_equal(found.value, [1, 2, 4, 5, NAN])
    np.testing.assert_array_equal(found.bound, [2, NAN, NAN, 4, NAN])
    assert reasons(run({"above": 2, "below": 4}, [2, 3, 4])) == ["above", "kept", "below"]


def test_bounds_come_before_the_count():
    # IFD: drop what is over 1, then keep the top half of what is left.
    values = [0.2, 1.5, 0.9, 0.5, 3.0, 0.7]
    assert kept({"max": 1, "fraction": 0.5}, values) == [2, 5]
    # Half of all six is three, taken of the four that are left.
    assert kept({"max": 1, "fraction": 0.5, "of": "input"}, values) == [2, 3, 5]


def test_of_input_counts_nulls_in_fraction_but_not_in_ranks():
    values = [1, 2, NAN, NAN]
    assert kept({"fraction": 0.5}, values) == [1]
    assert kept({"fraction": 0.5, "of": "input"}, values) == [0, 1]
    assert kept({"rank": [0.5, 1.0], "of": "input"}, values) == [1]


def test_rank_of_survivors_and_of_input_differ():
    values = [1, 2, 3, 4]
    assert kept({"min": 3, "rank": [0.5, 1.0]}, values) == [3]
    assert kept({"min": 3, "rank": [0.5, 1.0], "of": "input"}, values) == [2, 3]


def test_rank_comes_before_the_count_and_shows_ranks():
    values = [10, 20, 30, 40]
    found = run({"rank": [0.2, 0.8], "top": 1}, values)
    assert reasons(found) == ["rank", "top", "kept", "rank"]
    np.testing.assert_array_equal(found.value, [0.125, 20, 30, 0.875])
    np.testing.assert_array_equal(found.bound, [0.2, 30, NAN, 0.8])


def test_groups_rank_each_record_among_its_peers():
    values = [1, 2, 100, 200]
    groups = [0, 0, 1, 1]
    assert kept({"top": 2}, values) == [2, 3]
    found = run({"top": 2}, values, groups)
    assert found.kept.tolist() == [False, True, False, True]
    assert found.value.tolist() == [0.25, 0.75, 0.25, 0.75]
    assert found.bound.tolist()[0] == 0.75


def test_a_row_without_a_stratum_is_a_null():
    for invert in (False, True):
        found = run({"rank": [0, 1], "invert": invert}, [5, 6, NAN], [-1, 0, -1], [3, 3, 2])
        assert reasons(found) == ["no_stratum", "invert" if invert else "kept", "empty_query"]
        assert np.isnan(found.value[[0, 2]]).all()


def test_a_count_that_rounds_to_none():
    found = run({"fraction": 0.1}, [1, 2, 3])
    assert reasons(found) == ["fraction"] * 3
    assert np.isnan(found.bound).all()


@pytest.mark.parametrize("keep", [{"min": 0}, {"top": 3}, {"fraction": 0.5}, {"rank": [0, 0.5]}])
def test_the_empty_table_one_row_and_nothing_but_nulls(keep):
    assert kept(keep, []) == []
    assert kept(keep, [], []) == []
    assert kept(keep, [NAN, NAN]) == []
    assert reasons(run(keep, [NAN])) == ["undefined"]
    one = {"min": [0], "top": [0], "fraction": [], "rank": []}[next(iter(keep))]
    assert kept(keep, [4.0]) == one


def test_all_equal():
    assert kept({"fraction": 0.5}, [3.0] * 5) == [0, 1]
    assert kept({"rank": [0.5, 1.0]}, [3.0] * 5) == [0, 1, 2, 3, 4]
    assert kept({"rank": [0.0, 0.5]}, [3.0] * 5) == []


def test_the_input_is_left_alone():
    values = np.array([1.0, NAN, 2.0])
    codes = np.array([0, 1, 0], dtype=np.int8)
    values.flags.writeable = codes.flags.writeable = False
    for keep in ({"min": 2}, {"top": 1, "invert": True}):
        decide(Keep.model_validate(keep), values, NULLS, codes)


# ---------------------------------------------------------------- groups


def test_strata_cross_groups():
    by = np.array([1.0, 2.0, 3.0, 4.0, NAN])
    codes = np.array([0, 1, 0, -1, 0])
    assert stratum_groups() is None
    assert stratum_groups(by, 2).tolist() == [0, 0, 1, 1, -1]
    assert stratum_groups(None, 2, codes) is codes
    assert stratum_groups(by, 2, codes).tolist() == [0, 2, 1, -1, -1]


@given(rows, st.integers(1, 4))
def test_stratified_ranks_ignore_a_shift_of_a_whole_stratum(table, bins):
    by = np.array([float(g) for _, g, _ in table])
    groups = stratum_groups(by, bins)
    values = np.array([v for v, _, _ in table], dtype=float)
    np.testing.assert_array_equal(
        fractional_ranks(values, groups), fractional_ranks(values + 16 * groups, groups)
    )


# ---------------------------------------------------------------- what may be written


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({}, "keep has no rule"),
        ({"invert": True}, "keep has no rule"),
        ({"top": 3, "fraction": 0.5}, "top and fraction exclude each other"),
        ({"min": 1, "above": 1}, "min and above exclude each other"),
        ({"max": 1, "below": 2}, "max and below exclude each other"),
        ({"min": 3, "max": 2}, "no score is both min: 3.0 and max: 2.0"),
        ({"min": 2, "below": 2}, "no score is both min: 2.0 and below: 2.0"),
        ({"above": 2, "max": 2}, "no score is both above: 2.0 and max: 2.0"),
        ({"rank": [0.5, 0.5]}, "lo below hi"),
        ({"rank": [0.7, 0.5]}, "lo below hi"),
        ({"rank": [0.5, 1.5]}, "less than or equal to 1"),
        ({"rank": [0.5]}, "required"),
        ({"min": 1, "of": "input"}, "rank, top, fraction or quota"),
        ({"fraction": 0}, "greater than 0"),
        ({"fraction": 25}, "less than or equal to 1"),
        ({"top": 0}, "greater than or equal to 1"),
        ({"min": math.nan}, "finite"),
        ({"max": math.inf}, "finite"),
        ({"min": True}, "valid number"),
        ({"min": "8"}, "valid number"),
        ({"atleast": 3}, "Extra inputs"),
    ],
)
def test_slips_are_named(keep, message):
    with pytest.raises(ValidationError, match=message):
        Keep.model_validate(keep)


def test_what_is_fine():
    assert Keep(min=2, max=2).per_record
    assert Keep(above=1, below=2, invert=True).per_record
    assert not Keep(min=1, top=2).per_record
    assert not Keep(rank=(0.0, 1.0)).per_record
    with pytest.raises(ValidationError):
        Strata(by="nll_query", bins=0)


def test_a_dumped_rule_loads_again():
    for keep in (Keep(min=1), Keep(rank=(0.1, 0.9), of="input"), Keep(fraction=0.29)):
        assert Keep.model_validate(keep.model_dump(mode="json")) == keep


def test_every_field_is_described():
    for model in (Keep, Strata):
        assert all(field.description for field in model.model_fields.values())
