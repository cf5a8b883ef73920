"""Groups by path, by column and by word; quotas, by hand, by property and end to end."""

from __future__ import annotations

import json
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import qaqfilter
from outputs import Said, visible
from qaqfilter import QaqfilterError, RecipeError
from qaqfilter.groups import Group, find_word, shown, word_of
from qaqfilter.keep import Keep, decide
from qaqfilter.quotas import LISTED, Quotas, group_reports
from qaqfilter.row_fields import MISSING
from qaqfilter.schema import recipe_schema
from qaqfilter.stream import RecordStream

NAN = math.nan


def group_of(words) -> Group:
    group = Group.empty(len(words))
    for row, word in enumerate(words):
        group.put(row, word)
    return group


def run(keep, values, words):
    """Decisions by a keep with a quota; `words` are those of the rows."""
    rule, group = Keep.model_validate(keep), group_of(words)
    codes = np.zeros(len(values), dtype=np.int64)
    quotas = Quotas.of(rule.quota, group)
    found = decide(rule, np.array(values, dtype=float), ["null"], codes, group.codes, quotas=quotas)
    return found, quotas


def kept(keep, values, words):
    return np.flatnonzero(run(keep, values, words)[0].kept).tolist()


# ---------------------------------------------------------------- values as words


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("python", "python"),
        ("c++ 3", "c++ 3"),
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        ("1", '"1"'),
        (1.5, "1.5"),
        ("1.5", '"1.5"'),
        ("1e3", '"1e3"'),
        (True, "true"),
        ("true", '"true"'),
        (None, None),
        (MISSING, None),
        (NAN, None),
        ("null", '"null"'),
        ("", '""'),
        (["a", 1], '["a",1]'),
        ('["a",1]', '"["a",1]"'),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        (1e17, "1e+17"),
    ],
)
def test_a_value_has_one_word(value, word):
    assert word_of(value) == word


plain = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=6))


@given(plain, plain)
def test_two_values_never_share_a_word(one, other):
    same = type(one) is type(other) and one == other
    assert (word_of(one) == word_of(other)) == same


def test_what_is_nested_too_deep_is_no_group():
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ValueError, match="cannot be a group"):
        word_of(deep)
    assert word_of("[" * 100_000) == '"' + "[" * 100_000 + '"'


def test_a_name_means_a_word():
    words = [word_of(v) for v in ("python", 1, "2", "else", None)]
    assert [find_word(words, n) for n in ("python", "1", "2", '"2"', "else", '"else"', "null")] == [
        0, 1, 2, 2, 3, 3, 4,
    ]  # fmt: skip
    assert [find_word(words, n) for n in ("rust", "3", '"')] == [None] * 3
    both = [word_of(1), word_of("1")]
    assert (find_word(both, "1"), find_word(both, '"1"')) == (0, 1)
    assert find_word([word_of("null")], "null") == 0


def test_numbers_are_groups():
    group = Group.of_numbers(np.array([2.0, NAN, 0.5, 2.0, -0.0, 0.0]))
    assert [group.words[code] for code in group.codes] == ["2", None, "0.5", "2", "0", "0"]
    assert len(Group.of_numbers(np.empty(0)).words) == 0


def test_some_rows_have_their_own_words_only():
    group = group_of(["a", "b", "a", "c"])
    group.codes[0] = -1
    some = group.take(np.array([0, 2, 3]))
    assert some.codes.tolist() == [-1, 0, 1]
    assert some.words == ["a", "c"]
    assert some.sizes().tolist() == [1, 1]


# ---------------------------------------------------------------- quotas by hand

LANGUAGES = ["p", "p", "p", "p", "r", "r", None]
SCORES = [1, 2, 3, 4, 1, 2, 1]


@pytest.mark.parametrize(
    ("quota", "rows"),
    [
        (1, [3, 5, 6]),
        (3, [1, 2, 3, 4, 5, 6]),
        (0, []),
        (0.5, [2, 3, 5]),
        ("all", [0, 1, 2, 3, 4, 5, 6]),
        ({"p": 1, "r": 0.5, "else": "all"}, [3, 5, 6]),
        ({"p": 0, "null": 1, "else": 1}, [5, 6]),
        ({"else": 0}, []),
    ],
)
def test_so_many_of_each(quota, rows):
    assert kept({"quota": quota}, SCORES, LANGUAGES) == rows
    rest = sorted(set(range(7)) - set(rows))
    assert kept({"quota": quota, "invert": True}, SCORES, LANGUAGES) == rest


def test_a_reject_says_its_rank_and_the_last_of_its_group():
    found, _ = run({"quota": {"p": 2, "r": 0, "else": 1}}, SCORES, LANGUAGES)
    assert [found.reasons[code] for code in found.reason] == [
        "quota", "quota", "kept", "kept", "quota", "quota", "kept",
    ]  # fmt: skip
    np.testing.assert_array_equal(found.value, [0.125, 0.375, 0.625, 0.875, 0.25, 0.75, 0.5])
    np.testing.assert_array_equal(found.bound, [0.625, 0.625, NAN, NAN, NAN, NAN, NAN])


def test_bounds_come_before_the_quota_and_shares_are_of_what_is_left():
    values, words = [1, 2, 3, 4, NAN, NAN], ["p"] * 6
    assert kept({"min": 2, "quota": 0.5}, values, words) == [3]
    assert kept({"min": 2, "quota": 0.5, "of": "input"}, values, words) == [1, 2, 3]
    assert kept({"min": 2, "quota": 2, "of": "input"}, values, words) == [2, 3]
    assert kept({"rank": [0.0, 0.6], "quota": 1}, values, words) == [1]


def test_ties_fall_to_the_later_row_of_the_group():
    assert kept({"quota": 1}, [5, 5, 5, 5], ["a", "b", "a", "b"]) == [0, 1]


def test_a_share_is_the_number_as_written():
    assert len(kept({"quota": 0.29}, list(range(100)), ["a"] * 100)) == 29


def test_shortages_are_named():
    found, quotas = run({"quota": {"p": 4, "r": 3, "ruts": 9, "else": 0.5}}, SCORES, LANGUAGES)
    assert list(quotas.shortages(found.kept)) == [
        "r: 2 of 3",
        "ruts: no record is of this group",
        "there are the groups: p, r, null",
    ]
    found, quotas = run({"quota": 1}, SCORES, LANGUAGES)
    assert list(quotas.shortages(found.kept)) == []


def test_the_account_lists_the_largest_groups_and_sums_the_rest():
    words = [f"g{n}" for n in range(30) for _ in range(30 - n)]
    reports = group_reports(group_of(words), np.arange(len(words)) % 2 == 0)
    assert len(reports) == LISTED + 1
    assert [r.name for r in reports[:2]] == ["g0", "g1"]
    assert (reports[-1].name, reports[-1].read) == ("10 more", sum(range(1, 11)))
    assert sum(r.read for r in reports) == len(words)
    assert sum(r.kept for r in reports) == (len(words) + 1) // 2
    assert group_reports(group_of([]), np.empty(0, dtype=bool)) == ()
    assert shown("\x1b[2J") != "\x1b[2J"


# ---------------------------------------------------------------- quotas by property

limits = st.one_of(st.integers(0, 6), st.sampled_from([0.1, 0.29, 0.5, 0.9]), st.just("all"))
tables = st.lists(
    st.tuples(
        st.one_of(st.integers(-4, 4).map(float), st.just(NAN)), st.sampled_from(["a", "b", None])
    ),
    max_size=25,
)
quotas_of = st.one_of(
    limits, st.fixed_dictionaries({"a": limits, "else": limits}, optional={"null": limits})
)


@given(quotas_of, tables, st.sampled_from(["survivors", "input"]))
def test_each_group_gives_its_quota_or_what_it_has(quota, table, of):
    values, words = [v for v, _ in table], [w for _, w in table]
    rows = kept({"quota": quota, "of": of}, values, words)
    for word in set(words):
        name = "null" if word is None else word
        limit = quota.get(name, quota["else"]) if isinstance(quota, dict) else quota
        mine = [i for i, w in enumerate(words) if w == word]
        scored = [i for i in mine if not math.isnan(values[i])]
        base = len(mine if of == "input" else scored)
        most = {str: base, float: math.floor(Fraction(str(limit)) * base) if limit != "all" else 0,
                int: limit}[type(limit)]  # fmt: skip
        best = sorted(scored, key=lambda i: (-values[i], i))[: most if limit != "all" else base]
        assert sorted(best) == [i for i in rows if words[i] == word]


@given(
    quotas_of,
    st.lists(st.integers(-99, 99), unique=True, max_size=25),
    st.randoms(use_true_random=False),
)
def test_a_permutation_of_the_rows_keeps_the_same(quota, values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    words = ["abc"[v % 3] for v in values]
    first = {values[i] for i in kept({"quota": quota}, values, words)}
    again = kept({"quota": quota}, [values[i] for i in order], [words[i] for i in order])
    assert first == {values[order[i]] for i in again}


@given(quotas_of, tables, st.integers(-3, 3))
def test_a_shift_of_a_whole_group_changes_nothing(quota, table, shift):
    values, words = [v for v, _ in table], [w for _, w in table]
    moved = [v + (64 * shift if w == "a" else 0) for v, w in table]
    assert kept({"quota": quota}, values, words) == kept({"quota": quota}, moved, words)


# ---------------------------------------------------------------- what may be written


@pytest.mark.parametrize(
    ("quota", "message"),
    [
        (-1, "must be a count"),
        (1.0, "must be a count"),
        (0.0, "must be a count"),
        (True, "must be a count"),
        ("many", "must be a count"),
        (math.nan, "must be a count"),
        ({"p": 1}, "needs `else`"),
        ({}, "needs `else`"),
        ({"p": "5", "else": 1}, "must be a count"),
        ([1], "must be a count"),
    ],
)
def test_slips_are_named(quota, message):
    with pytest.raises(ValidationError, match=message) as caught:
        Keep.model_validate({"quota": quota})
    assert caught.value.error_count() == 1


@pytest.mark.parametrize("other", [{"top": 1}, {"fraction": 0.5}])
def test_one_count_only(other):
    with pytest.raises(ValidationError, match="and quota exclude each other"):
        Keep.model_validate({"quota": 1, **other})


@pytest.mark.parametrize("quota", [5, 0.25, "all", {"p": 5, "r": 0.25, "else": "all"}])
def test_a_dumped_quota_loads_again(quota):
    keep = Keep.model_validate({"quota": quota})
    assert not keep.per_record
    assert keep.model_dump(mode="json")["quota"] == quota
    assert Keep.model_validate(keep.model_dump(mode="json")) == keep


SCRIPT = """
from qaqfilter import Component, Options, hookimpl

class Spoken:
    columns = ("size", "parity")
    labels = ("first", {more})
    def __init__(self, config):
        pass
    def measure(self, record):
        size = len(record.answer)
        return {{"size": float(size), "parity": size % 2 if size > 1 else float("nan"),
                "first": {first}}}

@hookimpl
def qaqfilter_selectors():
    yield Component("spoken", Options, Spoken, "for tests")
"""


@pytest.fixture
def plugin(tmp_path):
    def write(first="record.answer[0] if record.answer else None", more=""):
        path = tmp_path / "spoken.py"
        path.write_text(SCRIPT.format(first=first, more=more))
        return path

    return write


@pytest.mark.parametrize(
    ("steps", "where", "message"),
    [
        ("{id: a, use: length, keep: {quota: 1}}", "steps.a.keep.quota", "no `group`"),
        (
            "{id: a, use: length, group: x, keep: {quota: {p: 1}}}",
            "steps.a.keep.quota",
            "needs `else`",
        ),
        (
            "{id: a, use: length, group: x, keep: {quota: {p: 1.5, else: 1}}}",
            "steps.a.keep.quota.p",
            "must be a count",
        ),
        ("{id: a, use: length, group: x, keep: {min: 1}}", "steps.a.group", "works beside"),
        (
            "{id: a, use: length}\n  - {id: b, use: length, group: a.lang, keep: {top: 1}}",
            "steps.b.group",
            "(columns: a.length); rename step 'a' if 'a.lang' is a field of the record",
        ),
        (
            "{id: b, use: length, group: a.length, keep: {top: 1}}\n  - {id: a, use: length}",
            "steps.b.group",
            "step 'a' comes later",
        ),
    ],
)
def test_a_wrong_recipe_says_where(write_recipe, steps, where, message):
    with pytest.raises(RecipeError) as caught:
        qaqfilter.load_recipe(write_recipe(f"  - {steps}"))
    text = str(caught.value)
    assert message in text
    assert f": {where}: " in text
    assert len(caught.value.problems) == 1, text


@pytest.mark.parametrize("more", ['"size"', '"group"', '"measured"'])
def test_a_label_cannot_take_a_column_s_name(write_recipe, plugin, more):
    with pytest.raises(RecipeError, match=r"label .* is taken"):
        qaqfilter.load_recipe(write_recipe("  - {id: s, use: spoken}"), plugins=[plugin(more=more)])


@pytest.mark.parametrize("first", ["3", "['x']"])
def test_a_label_that_is_no_word_is_the_plugin_s_fault(write_recipe, plugin, first):
    recipe = write_recipe("  - {id: s, use: spoken}")
    with pytest.raises(QaqfilterError, match=r"'spoken' \(.*\) measured .*text or None"):
        qaqfilter.run(recipe, plugins=[plugin(first=first)])


def test_the_schema_knows_quotas(manager):
    found = recipe_schema(manager)["definitions"]["Keep"]["properties"]["quota"]
    assert "oneOf" in json.dumps(found) or "anyOf" in json.dumps(found)
    assert "all" in json.dumps(found)


# ---------------------------------------------------------------- end to end

ROWS = [
    *({"query": f"p{n}", "answer": "x" * n, "meta": {"lang": "python"}} for n in (1, 2, 3, 4)),
    *({"query": f"r{n}", "answer": "x" * n, "meta": {"lang": "rust"}} for n in (1, 2)),
    {"query": "n1", "answer": "x", "meta": {"lang": None}},
    {"query": "n2", "answer": "xx"},
    {"query": "i1", "answer": "x", "meta": {"lang": 1}},
    {"query": "t1", "answer": "x", "meta": {"lang": "1"}},
    {"query": "t2", "answer": "xx", "meta": {"lang": "1"}},
]
LONG = "  - {id: long, use: length, of: answer, group: meta.lang, keep: {quota: 1}}"


@pytest.fixture
def recipe(tmp_path, write_recipe):
    def write(steps: str = LONG) -> Path:
        path = write_recipe(steps)
        text = "".join(json.dumps(row) + "\n" for row in ROWS)
        (tmp_path / "data.jsonl").write_text(text)
        return path

    return write


def left(folder: Path) -> list[str]:
    lines = (folder / "kept.jsonl").read_bytes().splitlines()
    return [json.loads(line)["query"] for line in lines]


def test_a_field_by_its_path(tmp_path, recipe):
    report = qaqfilter.run(recipe())
    assert left(tmp_path / "out") == ["p4", "r2", "n2", "i1", "t2"]
    groups = {g.name: (g.read, g.kept) for g in report.steps[0].groups}
    assert groups == {
        "python": (4, 1), "rust": (2, 1), "null": (2, 1), "1": (1, 1), '"1"': (2, 1),
    }  # fmt: skip
    assert [g.name for g in report.steps[0].groups] == ["python", '"1"', "null", "rust", "1"]
    table = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert Counter(table["long.group"].to_pylist()) == {
        "python": 4, "rust": 2, None: 2, "1": 1, '"1"': 2,
    }  # fmt: skip
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["steps"][0]["groups"][0] == {"name": "python", "read": 4, "kept": 1}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| `long` | `python` | 4 | 1 |" in card


def test_a_quota_by_name_and_what_it_says(tmp_path, recipe):
    said = Said()
    changes = ["steps.long.keep={quota: {python: 0.5, rust: 3, '1': 0, ruts: 2, else: all}}"]
    qaqfilter.run(recipe(), overrides=changes, observer=said)
    assert left(tmp_path / "out") == ["p3", "p4", "r1", "r2", "n1", "n2", "t1", "t2"]
    (message,) = said.messages
    assert message.splitlines() == [
        "step 'long': not every group (meta.lang) has its quota",
        "  rust: 2 of 3",
        "  ruts: no record is of this group",
        '  there are the groups: python, rust, null, 1, "1"',
    ]


def test_the_rejected_carry_the_reason(tmp_path, recipe):
    qaqfilter.run(recipe())
    lines = (tmp_path / "out" / "rejected.jsonl").read_bytes().splitlines()
    first = json.loads(lines[0])
    assert (first["reason"], first["value"], first["bound"]) == ("quota", 0.125, 0.875)


@pytest.mark.parametrize(
    "keep", ["{quota: 2}", "{quota: {python: 3, else: 0}}", "{top: 3}", "{quota: 0.5, min: 2}"]
)
def test_another_quota_is_selected_without_the_text(tmp_path, recipe, monkeypatch, keep):
    path = recipe()
    qaqfilter.run(path)

    def refuse(*args, **more):
        raise AssertionError("the text was read to decide")

    with monkeypatch.context() as patch:
        patch.setattr(RecordStream, "windows", refuse)
        qaqfilter.select_recipe(path, overrides=[f"steps.long.keep={keep}"], replace=True)
    again = tmp_path / "again"
    changes = [f"steps.long.keep={keep}", f"output.path={again}"]
    qaqfilter.run(path, overrides=changes)
    ours, theirs = visible(tmp_path / "out"), visible(again)
    for name in ("kept.jsonl", "rejected.jsonl", "scores.parquet", "README.md"):
        assert ours[name] == theirs[name], name


def test_another_field_is_read_again(tmp_path, recipe):
    path = recipe()
    qaqfilter.run(path)
    qaqfilter.select_recipe(path, overrides=["steps.long.group=answer"], replace=True)
    assert left(tmp_path / "out") == ["p1", "p2", "p3", "p4"]


BEHIND = """\
  - {id: some, use: length, of: query, keep: {min: 1}}
  - {id: long, use: length, of: answer, group: meta.lang, keep: {quota: 9}}"""


def test_a_narrow_selection_forgets_no_group(tmp_path, recipe):
    """What the wider recipe found stays known when a narrow one has looked at fewer records."""
    path = recipe(BEHIND)
    data = tmp_path / "data.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    rows[0]["query"] = "longer"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    qaqfilter.run(path, overrides=["steps.some.keep.min=3"])
    assert left(tmp_path / "out") == ["longer"]
    # Now the others are looked at, and not the one that was.
    narrow = ["steps.some.keep={max: 2}"]
    qaqfilter.select_recipe(path, overrides=narrow, replace=True)
    qaqfilter.select_recipe(path, replace=True)
    assert len(left(tmp_path / "out")) == len(rows)


def test_a_column_of_an_earlier_step(tmp_path, recipe, plugin, monkeypatch):
    steps = """\
  - {id: s, use: spoken}
  - {id: long, use: length, of: answer, group: s.parity, keep: {quota: 1}}"""
    path = recipe(steps)
    report = qaqfilter.run(path, plugins=[plugin()])
    assert left(tmp_path / "out") == ["p1", "p3", "p4"]
    assert {g.name: g.read for g in report.steps[1].groups} == {"null": 5, "0": 5, "1": 1}
    table = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert "long.group" not in table.column_names
    with monkeypatch.context() as patch:
        patch.setattr(RecordStream, "windows", None)
        changes = ["steps.long.keep.quota={'0': 2, else: 0}"]
        qaqfilter.select_recipe(path, plugins=[plugin()], overrides=changes, replace=True)
    assert left(tmp_path / "out") == ["p2", "p4"]


def test_a_column_of_its_own_and_a_scored_one(tmp_path, recipe):
    path = recipe("  - {id: long, use: length, of: answer, group: long.length, keep: {quota: 1}}")
    qaqfilter.run(path)
    assert left(tmp_path / "out") == ["p1", "p2", "p3", "p4"]
    steps = """\
  - {id: p, use: perplexity, model: toy}
  - {id: long, use: length, of: query, group: p.perplexity, keep: {quota: 1}}"""
    report = qaqfilter.run(recipe(steps), replace=True)
    table = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert report.kept == len(set(table["p.perplexity"].to_pylist())) < len(ROWS)


def test_a_word_that_a_selector_finds(tmp_path, write_recipe, plugin, monkeypatch):
    steps = """\
  - {id: s, use: spoken}
  - {id: long, use: length, of: answer, group: s.first, keep: {quota: 1}}"""
    answers = ["apple", "ape", "bee", "bear", "", "1st", "2nd", "1"]
    path = write_recipe(steps, pairs=[(f"q{n}", answer) for n, answer in enumerate(answers)])
    qaqfilter.run(path, plugins=[plugin()])
    assert left(tmp_path / "out") == ["q0", "q3", "q4", "q5", "q6"]
    first = visible(tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert table["s.first"].to_pylist() == ["a", "a", "b", "b", None, '"1"', '"2"', '"1"']
    with monkeypatch.context() as patch:
        patch.setattr(RecordStream, "windows", None)
        qaqfilter.select_recipe(path, plugins=[plugin()], replace=True)
        same = visible(tmp_path / "out")
        for name in ("kept.jsonl", "rejected.jsonl", "scores.parquet", "README.md"):
            assert same[name] == first[name], name
        changes = ["steps.long.keep.quota={b: 2, '1': 2, else: 0}"]
        qaqfilter.select_recipe(path, plugins=[plugin()], overrides=changes, replace=True)
    assert left(tmp_path / "out") == ["q2", "q3", "q5", "q7"]


def test_a_step_s_column_beats_a_field_of_that_path(tmp_path, recipe):
    steps = """\
  - {id: meta, use: length, of: answer}
  - {id: long, use: length, of: answer, group: meta.length, keep: {quota: 1}}"""
    qaqfilter.run(recipe(steps))
    assert left(tmp_path / "out") == ["p1", "p2", "p3", "p4"]
    with pytest.raises(RecipeError, match=r"no column 'meta\.lang'"):
        qaqfilter.load_recipe(recipe(steps.replace("meta.length", "meta.lang")))


def test_when_the_step_goes_the_name_is_a_field_again(tmp_path, recipe):
    steps = """\
  - {id: meta, use: length, of: answer}
  - {id: long, use: length, of: answer, group: meta.length, keep: {quota: 1}}"""
    path = recipe(steps)
    qaqfilter.run(path)
    path.write_text(path.read_text().replace("{id: meta,", "{id: other,"))
    qaqfilter.select_recipe(path, replace=True)
    assert left(tmp_path / "out") == ["p4"]  # no record has a field meta.length: one group


def test_nobody_gets_there(tmp_path, recipe, plugin):
    steps = """\
  - {id: none, use: length, keep: {min: 1000}}
  - {id: s, use: spoken}
  - {id: a, use: length, group: meta.lang, keep: {quota: 1}}
  - {id: b, use: length, group: s.first, keep: {quota: {x: 1, else: 0}}}
  - {id: c, use: length, group: s.parity, keep: {quota: 0.5}}"""
    report = qaqfilter.run(recipe(steps), plugins=[plugin()])
    assert report.kept == 0
    assert [step.groups for step in report.steps] == [()] * 5


def test_preview_names_the_step_as_one_that_compares(recipe):
    preview = qaqfilter.preview(recipe(), records=3)
    assert preview.ranked == ("long",)
