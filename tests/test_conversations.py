"""Conversations: every dialect by hand, what is scored of them, and what is none."""

from __future__ import annotations

import time

import pytest

from qaqfilter import Turn
from qaqfilter.conversations import Dialogue, last_turn


def said(*turns: tuple[str, object]) -> list[dict[str, object]]:
    return [{"role": role, "content": content} for role, content in turns]


def test_one_turn() -> None:
    assert last_turn(said(("user", "Q"), ("assistant", "A"))) == Dialogue("Q", "A", None, ())


def test_the_last_answer_is_scored_and_what_was_before_is_context() -> None:
    turns = said(
        ("system", "S"),
        ("user", "1"),
        ("assistant", "2"),
        ("tool", "3"),
        ("assistant", "4"),
        ("user", "5"),
        ("assistant", "6"),
    )
    earlier = (Turn("user", "1"), Turn("assistant", "2"), Turn("tool", "3"), Turn("assistant", "4"))
    assert last_turn(turns) == Dialogue("5", "6", "S", earlier)
    assert last_turn([*turns, *said(("user", "7"), ("tool", "8"))]) == last_turn(turns)


def test_a_tool_turn_may_be_the_query() -> None:
    turns = said(("user", "1"), ("assistant", "2"), ("tool", "3"), ("assistant", "4"))
    assert last_turn(turns) == Dialogue("3", "4", None, (Turn("user", "1"), Turn("assistant", "2")))


@pytest.mark.parametrize("user", ["human", "user", "Human", " USER "])
@pytest.mark.parametrize("model", ["gpt", "assistant", "chatgpt", "bing", "bard", "model"])
def test_sharegpt(user: str, model: str) -> None:
    turns = [
        {"from": "system", "value": "S"},
        {"from": user, "value": "1", "weight": None},
        {"from": model, "value": "2"},
        {"from": "observation", "value": "Q"},
        {"from": model, "value": "A", "weight": 1},
    ]
    assert last_turn(turns) == Dialogue("Q", "A", "S", (Turn("user", "1"), Turn("assistant", "2")))


@pytest.mark.parametrize("role", ["tool", "function", "observation", "tool_response"])
def test_what_tools_said(role: str) -> None:
    turns = said(("user", "0"), (role, "1"), ("user", "Q"), ("assistant", "A"))
    assert last_turn(turns).history == (Turn("user", "0"), Turn("tool", "1"))


def test_role_and_content_inside_of_sharegpt() -> None:
    turns = [{"from": "human", "value": "Q"}, {"role": "assistant", "content": "A"}]
    assert last_turn(turns)[:2] == ("Q", "A")


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_texts(role: str) -> None:
    pair = [("user", "Q"), ("assistant", "A")]
    assert last_turn(said((role, "S"), *pair)).system == "S"
    assert last_turn(said((role, "S"), *pair), "S").system == "S"
    assert last_turn(said((role, ""), *pair), "S").system == "S"
    assert last_turn(said((role, ""), *pair)).system is None
    assert last_turn(said(*pair), "S").system == "S"
    with pytest.raises(ValueError, match="the system turn and the field 'system' hold different"):
        last_turn(said((role, "S"), *pair), "T")


def test_parts_of_text_are_joined_as_they_are() -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b", "image_url": None}]
    assert last_turn(said(("user", parts), ("assistant", [])))[:2] == ("a b", "")


def test_calls_with_text_are_text() -> None:
    turns = said(("user", "Q"), ("assistant", "A"))
    for calls in (None, [], [{"function": {"name": "f"}}]):
        assert last_turn([turns[0], {**turns[1], "tool_calls": calls}])[:2] == ("Q", "A")


IMAGE = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "x"}}]
NO_ANSWER = "a conversation without an assistant turn: there is no answer"
NO_QUERY = "the last assistant turn, has no user or tool turn before it: there is no query"
NO_TEXT = "is a tool call without text, which cannot be scored yet"
A = ("assistant", "A")


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (None, "the conversation is null, not a list of turns"),
        ("text", "the conversation is text, not a list of turns"),
        ({}, "the conversation is an object, not a list of turns"),
        ([], NO_ANSWER),
        (said(("system", "S")), NO_ANSWER),
        (said(("user", "Q"), ("tool", "T")), NO_ANSWER),
        (said(A), f"turn 1, {NO_QUERY}"),
        (said(("system", "S"), A, ("user", "Q")), f"turn 2, {NO_QUERY}"),
        (said(("user", "Q"), A, A), f"turn 3, {NO_QUERY}"),
        (said(("user", "Q"), ("system", "S"), A), "turn 2 is a system turn, which only the first"),
        (said(("system", "S"), ("developer", "D"), ("user", "Q"), A), "turn 2 is a system turn"),
        (["hello"], "turn 1 is text, not an object"),
        ([[said(A)]], "turn 1 is a list, not an object"),
        ([{}], "turn 1: `role` is missing, not text"),
        ([{"from": 3, "value": "x"}], "turn 1: `from` is a number, not text"),
        (said((None, "x")), "turn 1: `role` is null, not text"),
        (said((["user"], "x")), "turn 1: `role` is a list, not text"),
        (
            said(("narrator\x1b[2J", "x")),
            r"turn 1: 'narrator\x1b[2J' is no known role; there are: ",
        ),
        (said(("user", None), A), "turn 1 (user): its content is null, not text"),
        (said(("user", 3), A), "turn 1 (user): its content is a number, not text"),
        (said(("user", {"type": "text"}), A), "turn 1 (user): its content is an object, not text"),
        (said(("user", IMAGE), A), "turn 1 (user): a part of type 'image_url'; only text can be"),
        (said(("user", [{"type": None}]), A), "turn 1 (user): a part of type null; only text"),
        (said(("user", ["x"]), A), "turn 1 (user): a part of its content is text, not an object"),
        (said(("user", [[[]]]), A), "turn 1 (user): a part of its content is a list, not an"),
        (said(("user", [{"type": "text"}]), A), "turn 1 (user): the `text` of a part is null"),
        ([*said(("user", "Q")), {"role": "assistant", "tool_calls": [{}]}], f"turn 2 {NO_TEXT}"),
        ([*said(("user", "Q")), {"from": "function_call", "value": "{}"}], f"turn 2 {NO_TEXT}"),
    ],
)
def test_what_is_no_conversation(turns: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        last_turn(turns)
    assert message in str(caught.value)


def test_ten_thousand_turns() -> None:
    turns = said(("user", "Q"), A) * 5000
    started = time.perf_counter()
    found = last_turn(turns)
    assert time.perf_counter() - started < 5
    assert len(found.history) == 9998
    assert (found.query, found.answer) == ("Q", "A")
