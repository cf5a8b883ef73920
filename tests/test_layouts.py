"""Layouts: what is the query, what the answer, and what is said about rows that have neither."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from pydantic import ValidationError

from qaqfilter import SourceError
from qaqfilter.layouts import LAYOUTS, FieldMap, by_fields, content_id, detect


def read(layout: str, **row: object):
    return LAYOUTS[layout].read(row)


def test_query_answer() -> None:
    content = read("query_answer", query="Q", answer="A", id="r1", system="S", extra=[1])
    assert content == ("Q", "A", "S", "r1")


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
    assert layout.read(row) == ("Q", "A", None, "4")
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


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_detected_by_what_it_is_known_by(name: str) -> None:
    assert detect(dict.fromkeys(LAYOUTS[name].known_by, "x") | {"other": 1}) == name


def test_nothing_fits() -> None:
    with pytest.raises(SourceError, match=r"Its fields: prompt, text\. Name them: `fields:"):
        detect({"prompt": "Q", "text": "A"})


def test_two_fit() -> None:
    row = {"instruction": "", "output": "", "query": "", "answer": ""}
    with pytest.raises(SourceError, match=r"several layouts \(query_answer, alpaca\)"):
        detect(row)
