"""`convert`: what a row says stays the same in every layout, and so does all else in it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qaqfilter import Turn
from qaqfilter.cli import run_cli
from qaqfilter.layout_writers import WRITERS, Spoken, Talk, in_place, talk_of
from qaqfilter.layouts import LAYOUTS, Content, content_id

TEXT = st.text(max_size=8)
LISTS = ("messages", "conversations", "prompt_completion")
HISTORY = st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), TEXT), max_size=4)


def content_of(query, answer, system=None, history=()):
    turns = tuple(Turn(*turn) for turn in history)
    name = content_id(query, answer, system, turns)
    return Content(query, answer, system, name, turns)


def talk(content, *, listed):
    system = Spoken("system", content.system, {}) if content.system else None
    turns = [*content.history, ("user", content.query), ("assistant", content.answer)]
    return Talk(system, tuple(Spoken(role, text, {}) for role, text in turns), listed=listed)


def test_every_layout_has_a_writer():
    assert WRITERS.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(derandomize=True, database=None, max_examples=100, deadline=None)
@given(TEXT, TEXT, st.none() | st.text(min_size=1, max_size=8), HISTORY, st.booleans())
def test_what_is_written_is_read_again(layout, query, answer, system, history, listed):
    history = history if layout in LISTS and listed else []
    content = content_of(query, answer, system, history)
    row = WRITERS[layout](talk(content, listed=listed))
    assert LAYOUTS[layout].read(row) == content
    assert LAYOUTS[layout].fits(row)


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("target", LAYOUTS)
def test_from_each_to_each_and_back(tmp_path, source, target):
    pairs = [content_of("Q1", "A1"), content_of("Q2", "A2", "S")]
    rows = [
        {"id": f"r{n}", "before": 1, **WRITERS[source](talk(content, listed=False)), "after": [n]}
        for n, content in enumerate(pairs)
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    there, back = tmp_path / "there.json", tmp_path / "back.jsonl"
    assert run_cli(["convert", str(data), "--to", target, "-o", str(there)]) == 0
    for row, content in zip(json.loads(there.read_text()), pairs, strict=True):
        assert LAYOUTS[target].read(row)[:3] == content[:3]
        assert list(row)[:2] == ["id", "before"]
        assert list(row)[-1] == "after"
    assert run_cli(["convert", str(there), "--to", source, "-o", str(back)]) == 0
    found = [json.loads(line) for line in back.read_text().splitlines()]
    if source != "prompt_completion":  # which has two forms
        assert found == rows
    for row, content in zip(found, pairs, strict=True):
        assert LAYOUTS[source].read(row)[:3] == content[:3]


TALK = {
    "id": "t",
    "messages": [
        {"role": "developer", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "one"}]},
        {"role": "assistant", "content": "two", "weight": 0},
        {"role": "tool", "content": "three", "name": "f"},
        {"role": "assistant", "content": "four"},
        {"role": "user", "content": "thanks"},
    ],
}


def test_every_turn_of_a_conversation_stays(tmp_path, capsys):
    (tmp_path / "t.jsonl").write_text(json.dumps(TALK))
    assert run_cli(["convert", str(tmp_path / "t.jsonl"), "--to", "conversations"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "id": "t",
        "conversations": [
            {"from": "system", "value": "S"},
            {"from": "human", "value": "one"},
            {"from": "gpt", "value": "two", "weight": 0},
            {"from": "tool", "value": "three", "name": "f"},
            {"from": "gpt", "value": "four"},
            {"from": "human", "value": "thanks"},
        ],
    }


def test_a_conversation_as_prompt_and_completion():
    row = {"messages": TALK["messages"][:-1]}
    content = LAYOUTS["messages"].read(row)
    new = WRITERS["prompt_completion"](talk_of(content, row, "messages"))
    assert [turn["content"] for turn in new["prompt"]] == ["S", "one", "two", "three"]
    assert new["completion"] == [{"role": "assistant", "content": "four"}]
    assert LAYOUTS["prompt_completion"].read(new) == content


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ("uaua", "2 earlier turns"),
        ("uau", "a turn behind the last answer"),
        ("uauu", "2 turns behind the last answer"),
        ("ta", "the query is a tool turn"),
    ],
)
def test_what_a_pair_has_no_place_for(turns, message):
    names = {"u": "user", "a": "assistant", "t": "tool"}
    row = {"messages": [{"role": names[turn], "content": turn} for turn in turns]}
    said = talk_of(LAYOUTS["messages"].read(row), row, "messages")
    with pytest.raises(ValueError, match=message):
        WRITERS["alpaca"](said)


def test_fields_of_turns_are_dropped_only_when_told():
    row = {"messages": [{"role": "user", "content": "Q", "weight": 1}, TALK["messages"][4]]}
    content = LAYOUTS["messages"].read(row)
    with pytest.raises(ValueError, match=r"a turn has a field 'weight'.*--drop weight"):
        WRITERS["query_answer"](talk_of(content, row, "messages"))
    said = talk_of(content, row, "messages", drop=["weight"])
    assert WRITERS["query_answer"](said) == {"query": "Q", "answer": "four"}
    row["messages"][0]["weight"] = None  # as tables say that there is none
    said = talk_of(content, row, "messages")
    assert WRITERS["query_answer"](said) == {"query": "Q", "answer": "four"}


def test_fields_by_name_move_and_leave_no_empty_object(tmp_path, capsys):
    row = {"task": {"q": "Q"}, "meta": {"key": "k", "n": 1.50}, "a": "A", "sys": None}
    (tmp_path / "d.jsonl").write_text(json.dumps(row))
    fields = "query=task.q,answer=a,system=sys,id=meta.key"
    call = ["convert", str(tmp_path / "d.jsonl"), "--fields", fields, "--to", "query_response"]
    assert run_cli(call) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"id": "k", "query": "Q", "response": "A", "meta": {"n": 1.5}}
    assert list(found) == ["id", "query", "response", "meta"]


def test_a_field_with_a_dot_in_its_name():
    row = {"a.b": "Q", "a": {"b": "stays", "c": "A"}}
    assert in_place(row, ["a.b", "a.c"], {"new": 1}) == {"new": 1, "a": {"b": "stays"}}


def test_numbers_keep_their_digits(tmp_path, capsys):
    (tmp_path / "d.jsonl").write_text(
        '\ufeff{"query": "é", "n": 1.50, "answer": "A", "big": 12345678901234567890123, "e": 1E+05}'
    )
    assert run_cli(["convert", str(tmp_path / "d.jsonl"), "--to", "problem_solution"]) == 0
    assert capsys.readouterr().out == (
        '{"problem":"é","solution":"A","n":1.50,"big":12345678901234567890123,"e":1E+05}\n'
    )


BAD = [
    {"query": "Q", "answer": "A"},
    {"query": "Q", "answer": None},
    {"query": "Q", "answer": "A", "messages": "taken"},
]


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in BAD))
    return path


def test_a_bad_record_stops_all_of_it(bad, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert run_cli(["convert", str(bad), "--to", "messages", "-o", str(out)]) == 3
    told = capsys.readouterr().err
    assert "2 of 3 records cannot be written in layout messages, so nothing was" in told
    assert "bad.jsonl:2: field 'answer' is null, not text" in told
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]


def test_nothing_goes_to_a_pipe_after_an_error(bad, capsys):
    assert run_cli(["convert", str(bad), "--to", "messages"]) == 3
    assert capsys.readouterr().out == ""


def test_bad_records_are_left_out_where_that_is_asked_for(bad, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    call = ["convert", str(bad), "--to", "messages", "-o", str(out), "--on-error", "skip"]
    assert run_cli(call) == 0
    assert "left out 2 records; the first: bad.jsonl:2: field 'answer'" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 1


def test_a_clash_is_mended_by_dropping(bad, capsys):
    call = ["convert", str(bad), "--to", "messages", "--drop", "messages", "--on-error", "skip"]
    assert run_cli(call) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_clash_says_how_to_mend_it():
    with pytest.raises(ValueError, match=r"a field 'messages' already: .*--drop messages"):
        in_place(BAD[2], ["query", "answer"], {"messages": []})


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz", "o.jsonl.zst", "o.json", "o.json.gz"])
@pytest.mark.parametrize("between", ["m.parquet", "m.json.zst"])
def test_through_formats(tmp_path, name, between):
    rows = [{"id": f"{n}", "instruction": f"Q{n}", "input": "", "output": "A"} for n in range(3)]
    data, other, out, plain = (tmp_path / n for n in ("d.jsonl", between, name, "p.jsonl"))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_cli(["convert", str(data), "--to", "conversations", "-o", str(other)]) == 0
    assert run_cli(["convert", str(other), "--to", "alpaca", "-o", str(out)]) == 0
    assert run_cli(["convert", str(out), "--to", "alpaca", "-o", str(plain)]) == 0
    assert [json.loads(line) for line in plain.read_text().splitlines()] == rows


def test_a_layout_that_is_there_already_only_changes_the_format(tmp_path):
    text = 'query,answer,n\n"a, b",A,1\n'
    (tmp_path / "d.csv").write_text(text)
    for name in ("e.csv", "t.tsv", "t.parquet"):
        call = ["convert", str(tmp_path / "d.csv"), "--to", "query_answer"]
        assert run_cli([*call, "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "e.csv").read_text() == text
    assert (tmp_path / "t.tsv").read_text() == "query\tanswer\tn\na, b\tA\t1\n"
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.to_pylist() == [{"query": "a, b", "answer": "A", "n": "1"}]


def test_what_a_table_cannot_hold(tmp_path, capsys):
    rows = [{"query": "Q", "answer": "A", "n": n} for n in (1, "x")]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "o.parquet"
    assert run_cli(["convert", str(tmp_path / "d.jsonl"), "--to", "alpaca", "-o", str(out)]) == 1
    assert "d.jsonl:2: field 'n' has another type" in (told := capsys.readouterr().err)
    assert "(here: -o NAME.jsonl)" in told
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "o.txt"], "no sink writes o.txt: a name ends in .csv"),
        (["-o", "o.datasets"], "datasets is written as a folder"),
        (["-o", "o.parquet.gz"], "parquet files are not packed as a whole"),
        (["-o", "bad.jsonl"], "is there; --force"),
        (["--layout", "alpaca", "--fields", "query=a,answer=b"], "exclude each other"),
        (["--fields", "query=a"], "name both query and answer"),
        (["--fields", "query=a,answr=b"], "'answr=b' is not like query=FIELD"),
        (["--source", "docstrings"], "source 'docstrings' cannot read it"),
    ],
)
def test_wrong_calls(bad, monkeypatch, capsys, options, message):
    monkeypatch.chdir(bad.parent)
    assert run_cli(["convert", "bad.jsonl", "--to", "messages", *options]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in bad.parent.iterdir()] == ["bad.jsonl"]


def test_force_overwrites_even_what_is_read(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"query": "Q", "answer": "A"}\n')
    call = ["convert", str(path), "--to", "problem_solution", "-o", str(path), "--force"]
    assert run_cli(call) == 0
    assert path.read_text() == '{"problem":"Q","solution":"A"}\n'


def test_a_reader_that_has_seen_enough(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"query": "Q", "answer": "A"}\n' * 20_000)
    command = [sys.executable, "-m", "qaqfilter", "convert", str(path), "--to", "messages"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "messages" in process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 0
    assert "wrote 20000 records" in told
    assert "Traceback" not in told


def test_a_packed_csv(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"query": "Q", "answer": "A"}\n')
    out = tmp_path / "o.csv.gz"
    assert run_cli(["convert", str(tmp_path / "d.jsonl"), "--to", "alpaca", "-o", str(out)]) == 0
    assert gzip.decompress(out.read_bytes()) == b"instruction,input,output\nQ,,A\n"
