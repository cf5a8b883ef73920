"""Layouts: what is the query, what the answer, and what is said about rows that have neither."""

from __future__ import annotations

import logging
from hashlib import blake2b
from typing import get_args

import pytest
from pydantic import ValidationError

from qaqfilter import SourceError, Turn
from qaqfilter.layout_options import LayoutName, LayoutOptions, find_layout
from qaqfilter.layouts import LAYOUTS, Content, FieldMap, by_fields, content_id, detect


def read(layout: str, **row: object):
    return LAYOUTS[layout].read(row)


def test_query_answer() -> None:
    content = read("query_answer", query="Q", answer="A", id="r1", system="S", extra=[1])
    assert content == Content("Q", "A", "S", "r1")


@pytest.mark.parametrize("more", ["", None])
def test_alpaca_without_input(more: str | None) -> None:
    content = read("alpaca", instruction="Do", input=more, output="Done")
    assert content[:3] == ("Do", "Done", None)
    assert content == read("alpaca", instruction="Do", output="Done")


def test_alpaca_with_input() -> None:
    assert read("alpaca", instruction="Add", input="1 2", output="3").query == "Add\n1 2"


@pytest.mark.parametrize(
    ("value", "expected"), [("a b", "a b"), (7, "7"), (0, "0"), (2**70, str(2**70))]
)
def test_own_ids(value: object, expected: str) -> None:
    assert read("query_answer", query="Q", answer="A", id=value).id == expected


@pytest.mark.parametrize("value", ["", None, True, 1.5, ["x"]])
def test_what_is_no_id_gives_way_to_a_digest(value: object) -> None:
    digest = content_id("Q", "A", None)
    assert read("query_answer", query="Q", answer="A", id=value).id == digest


def test_content_id() -> None:
    parts = ["é".encode(), b"Q", b"A"]
    joined = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    assert content_id("Q", "A", "é") == blake2b(joined, digest_size=16).hexdigest()
    assert content_id("ab", "c", None) != content_id("a", "bc", None)
    assert content_id("a", "b", None) != content_id("b", "a", None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "Q", "id": 1}, "field 'answer' is missing; there are: query, id"),
        ({"query": "Q", "answer": None}, "field 'answer' is null, not text"),
        ({"query": "Q", "answer": ["x"]}, "field 'answer' is a list, not text"),
        ({"query": 1, "answer": "A"}, "field 'query' is a number, not text"),
        ({"query": True, "answer": "A"}, "field 'query' is a truth value, not text"),
        ({"query": "Q", "answer": "A", "system": {}}, "field 'system' is an object, not text"),
        ({}, "field 'query' is missing; there are: none"),
    ],
)
def test_rows_that_do_not_keep_to_their_layout(row, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        LAYOUTS["query_answer"].read(row)
    assert str(caught.value) == message


def test_fields_by_path() -> None:
    names = FieldMap(query="meta.task.text", answer="out", id="meta.key", system="meta.sys")
    layout = by_fields(names)
    row = {"meta": {"task": {"text": "Q"}, "key": 4}, "out": "A", "id": "not this"}
    assert layout.read(row) == Content("Q", "A", None, "4")
    assert layout.read({**row, "meta": {**row["meta"], "sys": "S"}}).system == "S"


def test_a_field_with_a_dot_in_its_name_beats_the_path() -> None:
    layout = by_fields(FieldMap(query="a.b", answer="c"))
    assert layout.read({"a.b": "flat", "a": {"b": "deep"}, "c": "A"}).query == "flat"


def test_fields_without_id_use_the_rows_own() -> None:
    layout = by_fields(FieldMap(query="q", answer="a"))
    assert layout.read({"q": "Q", "a": "A", "id": "own"}).id == "own"


def test_a_named_id_must_be_there() -> None:
    layout = by_fields(FieldMap(query="q", answer="a", id="key"))
    for row in ({"q": "Q", "a": "A"}, {"q": "Q", "a": "A", "key": 1.5}):
        with pytest.raises(ValueError, match="field 'key' is missing, or no text or whole number"):
            layout.read(row)


def test_a_path_through_what_is_no_object() -> None:
    layout = by_fields(FieldMap(query="a.b", answer="c"))
    with pytest.raises(ValueError, match=r"field 'a\.b' is missing"):
        layout.read({"a": "text", "c": "A"})


def test_field_map_refuses_unknown_keys() -> None:
    with pytest.raises(ValidationError):
        FieldMap(query="q", answer="a", anwser="b")


PAIR_LAYOUTS = {
    "prompt_completion": {"prompt": "Q", "completion": "A"},
    "query_answer": {"query": "Q", "answer": "A"},
    "query_response": {"query": "Q", "response": "A"},
    "problem_solution": {"problem": "Q", "solution": "A"},
    "alpaca": {"instruction": "Q", "output": "A"},
}
TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
LISTS = {
    "messages": {"messages": TURNS},
    "conversations": {
        "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    },
    "prompt_completion": {"prompt": TURNS[:1], "completion": TURNS[1:]},
}
EVERY = [*PAIR_LAYOUTS.items(), *LISTS.items()]


@pytest.mark.parametrize(("name", "row"), EVERY)
def test_every_layout_is_detected_and_read(name: str, row) -> None:
    """With a system text beside, an id of its own, and fields that mean nothing."""
    assert detect({"other": 1, **row}) == [name]
    whole = {**row, "system": "S", "id": 7, "other": [1]}
    assert LAYOUTS[name].read(whole) == Content("Q", "A", "S", "7")
    assert LAYOUTS[name].read(row) == Content("Q", "A", None, content_id("Q", "A", None))


def test_there_is_a_row_for_every_layout_and_a_name_in_recipes() -> None:
    assert {name for name, _ in EVERY} == set(LAYOUTS)
    assert list(get_args(LayoutName)) == ["auto", *LAYOUTS]


@pytest.mark.parametrize("value", [None, "text", 3, {"role": "user"}])
def test_turns_that_are_no_list_are_not_detected(value: object) -> None:
    assert detect({"messages": value, "problem": "Q", "solution": "A"}) == ["problem_solution"]


@pytest.mark.parametrize(
    ("prompt", "completion"), [(TURNS[:1], "A"), ("Q", TURNS[1:]), (TURNS[:1], None)]
)
def test_prompt_and_completion_of_two_kinds(prompt, completion) -> None:
    with pytest.raises(ValueError, match="both must be text, or both lists of messages"):
        read("prompt_completion", prompt=prompt, completion=completion)


def test_prompt_and_completion_are_one_conversation() -> None:
    prompt = [{"role": "system", "content": "S"}, {"role": "user", "content": "1"}, TURNS[1]]
    content = read("prompt_completion", prompt=[*prompt, TURNS[0]], completion=TURNS[1:])
    assert content[:3] == ("Q", "A", "S")
    assert content.history == (Turn("user", "1"), Turn("assistant", "A"))


def test_nothing_fits() -> None:
    with pytest.raises(SourceError, match=r"Its fields: prompt, text\. Name them: `fields:"):
        detect({"prompt": "Q", "text": "A"})


def test_of_two_that_fit_conversations_come_first() -> None:
    row = {"problem": "", "solution": "", "answer": "", "query": "", "messages": []}
    assert detect(row) == ["messages", "query_answer", "problem_solution"]


def test_which_one_holds_is_said(caplog) -> None:
    row = {"instruction": "", "output": "", "query": "", "answer": ""}
    with caplog.at_level(logging.INFO, logger="qaqfilter"):
        found = find_layout(LayoutOptions(), [("a.jsonl, line 1", row)])
    assert found is LAYOUTS["query_answer"]
    assert caplog.messages == [
        "a.jsonl, line 1: layout query_answer, which goes before alpaca (name another with "
        "input.layout or input.fields)"
    ]
    assert find_layout(LayoutOptions(layout="alpaca"), []) is LAYOUTS["alpaca"]


def test_the_id_is_of_the_history_too() -> None:
    turns = [Turn("user", "a"), Turn("assistant", "b")]
    ids = [content_id("Q", "A", None, turns[:n]) for n in range(3)]
    ids.append(content_id("Q", "A", None, [Turn("tool", "a"), turns[1]]))
    ids.append(content_id("Q", "A", None, [Turn("user", "ab"), Turn("assistant", "")]))
    assert len(set(ids)) == 5
    assert ids[0] == content_id("Q", "A", None)
    parts = [b"", b"Q", b"A", b"user", b"a", b"assistant", b"b"]
    joined = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    assert ids[2] == blake2b(joined, digest_size=16).hexdigest()
    messages = [*({"role": t.role, "content": t.text} for t in turns), *TURNS]
    assert read("messages", messages=messages).id == ids[2]
