"""The damages that come along: each does what it says, by its seed alone."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qaqfilter import Options, Origin, Record
from qaqfilter.manager import load_plugins

NAMES = [
    "corrupted_identifiers",
    "echoed",
    "invented_terms",
    "near_swapped",
    "refusal",
    "shuffled_lines",
    "swapped",
    "truncated",
    "wrong_language",
]
CODE = """def total(items):
    result = 0
    for item in items:
        result += item
    return result"""


def record(query, answer, place=0):
    return Record(f"r{place}", query, answer, b"{}\n", Origin("data.jsonl", place))


OTHERS = (
    record("Square a number.", "def square(x):\n    return x * x", 1),
    record("Add up all items.", "def add_items(items):\n    return sum(items)", 2),
    record("Say hello.", "print('hello')", 3),
)


@pytest.fixture(scope="module")
def damages():
    manager = load_plugins()
    assert manager.names("damage") == NAMES
    return {name: manager.component("damage", name).create(Options()) for name in NAMES}


def damaged(damages, name, query="Sum the items.", answer=CODE, others=OTHERS, seed=0):
    rng = np.random.default_rng(seed)
    return damages[name].damage(record(query, answer), others, rng)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_copy(damages, name):
    first = damaged(damages, name)
    assert first is not None
    assert first == damaged(damages, name)
    assert first != ("Sum the items.", CODE)


@pytest.mark.parametrize(
    "name", ["corrupted_identifiers", "invented_terms", "refusal", "shuffled_lines", "swapped"]
)
def test_another_seed_may_give_another_copy(damages, name):
    assert len({damaged(damages, name, seed=seed) for seed in range(10)}) > 1


ALONE = [name for name in NAMES if name != "invented_terms"]


@pytest.mark.parametrize("name", ALONE)
def test_only_invented_terms_touch_the_query(damages, name):
    query, _ = damaged(damages, name)
    assert query == "Sum the items."


def test_swapped_takes_the_answer_of_another(damages):
    found = {damaged(damages, "swapped", seed=seed)[1] for seed in range(30)}
    assert found == {other.answer for other in OTHERS}


@pytest.mark.parametrize("name", ["swapped", "near_swapped"])
def test_a_swap_needs_another_answer(damages, name):
    assert damaged(damages, name, others=()) is None
    same = (record("Other.", CODE, 1), record("Empty.", " ", 2))
    assert damaged(damages, name, others=same) is None


def test_near_swapped_takes_the_nearest_whatever_the_seed(damages):
    found = {damaged(damages, "near_swapped", seed=seed) for seed in range(5)}
    assert found == {("Sum the items.", OTHERS[1].answer)}


def test_echoed_is_the_query(damages):
    assert damaged(damages, "echoed") == ("Sum the items.", "Sum the items.")
    assert damaged(damages, "echoed", query="  ") is None


def test_truncated_is_a_fifth(damages):
    assert damaged(damages, "truncated", answer="0123456789" * 3) == ("Sum the items.", "012345")
    assert damaged(damages, "truncated", answer="012345678") is None


def test_corrupted_identifiers_no_longer_fit(damages):
    _, answer = damaged(damages, "corrupted_identifiers")
    names = {node.id for node in ast.walk(ast.parse(answer)) if isinstance(node, ast.Name)}
    known = {"result", "items", "item", "total"}
    assert names - known, answer
    assert answer.startswith("def total(items):\n    result = 0"), "first places stay"
    assert damaged(damages, "corrupted_identifiers", answer="one two three") is None


def test_a_name_is_misspelt_in_one_way(damages):
    answer = "counter = 0\n" + "counter += 1\n" * 6
    for seed in range(20):
        words = set(damaged(damages, "corrupted_identifiers", answer=answer, seed=seed)[1].split())
        assert "counter" in words
        assert len(words - {"0", "1", "=", "+="}) == 2


def test_invented_terms_are_asked_for_and_used(damages):
    query, answer = damaged(damages, "invented_terms")
    call = query.split("`")[1]
    assert query.startswith("Sum the items. Use `")
    assert f"{call}(" in answer
    left = [line for line in answer.split("\n") if call not in line]
    assert "\n".join(left) == CODE
    assert damaged(damages, "invented_terms", answer="") is None


@pytest.mark.parametrize("seed", range(12))
def test_code_with_invented_terms_is_still_code(damages, seed):
    ast.parse(damaged(damages, "invented_terms", seed=seed)[1])


def test_wrong_language_has_the_names_of_the_code(damages):
    for seed in range(12):
        _, answer = damaged(damages, "wrong_language", seed=seed)
        assert "result" in answer
        with pytest.raises(SyntaxError):
            ast.parse(answer)


def test_fences_are_replaced_and_prose_stays(damages):
    answer = f"Here it is:\n\n```python\n{CODE}\n```\n\nIt adds up."
    found = {damaged(damages, "wrong_language", answer=answer, seed=s)[1] for s in range(60)}
    for text in found:
        assert text.startswith("Here it is:\n\n```")
        assert text.endswith("\n```\n\nIt adds up.")
        assert "```python" not in text
    assert {text.split("```")[1].split("\n")[0] for text in found} >= {"java", "go", "rust"}


def test_prose_has_no_other_language(damages):
    assert damaged(damages, "wrong_language", answer="It depends on the weather.") is None


def test_refusals_have_several_wordings(damages):
    assert len({damaged(damages, "refusal", seed=seed)[1] for seed in range(60)}) == 8


def test_shuffled_lines_are_the_same_lines(damages):
    _, answer = damaged(damages, "shuffled_lines")
    assert sorted(answer.split("\n")) == sorted(CODE.split("\n"))
    assert answer != CODE
    assert damaged(damages, "shuffled_lines", answer="a\nb\n\nc") is None
    assert damaged(damages, "shuffled_lines", answer="a\na\na\na\na") is None


TEXT = st.text(alphabet=st.characters(codec=None), max_size=40) | st.text(
    "a_ \n`~{}(=;:\ud800é漢", max_size=60
)


@pytest.mark.parametrize("name", NAMES)
@given(query=TEXT, answer=TEXT, other=TEXT, seed=st.integers(0, 9))
def test_any_text_is_taken(damages, name, query, answer, other, seed):
    others = (record(other, other, 1),)
    found = damaged(damages, name, query, answer, others, seed)
    assert found is None or all(isinstance(text, str) for text in found)
    assert found == damaged(damages, name, query, answer, others, seed)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in ("refusal", "swapped", "near_swapped", "echoed")]
)
def test_nothing_is_made_of_an_empty_answer(damages, name):
    assert damaged(damages, name, answer="") is None
