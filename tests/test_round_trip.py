"""In and out again: whatever a row holds beside its texts, it leaves with the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qaqfilter
from qaqfilter import Record
from qaqfilter.layouts import LAYOUTS
from qaqfilter_jsonl.sink import JsonlSink, JsonlSinkOptions, JsonSink, JsonSinkOptions
from qaqfilter_jsonl.source import JsonlSource, JsonlSourceOptions, JsonSource, JsonSourceOptions

TEXT = st.text(max_size=12)
PARTS = TEXT | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}), max_size=2)


def turns(role: str, content: str, user: str, model: str):
    """Lists of turns that end with an answer, in one dialect."""
    said = PARTS if content == "content" else TEXT
    pair = st.tuples(said, said).map(
        lambda texts: [
            {role: user, content: texts[0], "weight": 1},
            {content: texts[1], role: model},
        ]
    )
    return st.lists(pair, min_size=1, max_size=3).map(lambda pairs: [t for p in pairs for t in p])


OPENAI = turns("role", "content", "user", "assistant")
ROWS = {
    "messages": st.fixed_dictionaries({"messages": OPENAI}),
    "conversations": st.fixed_dictionaries(
        {"conversations": turns("from", "value", "human", "gpt") | OPENAI}
    ),
    "prompt_completion": st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT})
    | OPENAI.map(lambda said: {"prompt": said[:-1], "completion": said[-1:]}),
    "query_answer": st.fixed_dictionaries({"answer": TEXT, "query": TEXT}),
    "query_response": st.fixed_dictionaries({"response": TEXT, "query": TEXT}),
    "problem_solution": st.fixed_dictionaries({"problem": TEXT, "solution": TEXT}),
    "alpaca": st.fixed_dictionaries({"output": TEXT, "input": TEXT, "instruction": TEXT}),
}
# Numbers that a parser would change, if anybody wrote the parsed form: they are put in as text.
NUMBERS = st.sampled_from(["1", "1.0", "1.50", "1e2", "-0.0", "12345678901234567890123", "1E+05"])


@st.composite
def written(draw, layout: str) -> bytes:
    """A row as somebody might have written it, with fields that nobody knows around its own."""
    fields = {"~before": None, **draw(ROWS[layout]), "~after": draw(TEXT), "~deep": [{}, [True]]}
    spaces = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    escaped = draw(st.booleans())
    row = json.dumps(fields, separators=spaces, ensure_ascii=escaped)
    return row.replace('"~before"', f'"~n":{draw(NUMBERS)} ,"~before"', 1).encode()


@pytest.mark.parametrize("form", ["jsonl", "json"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_leave_as_they_came(tmp_path: Path, layout: str, form: str) -> None:
    source, options, sink, sink_options = {
        "jsonl": (JsonlSource, JsonlSourceOptions, JsonlSink, JsonlSinkOptions),
        "json": (JsonSource, JsonSourceOptions, JsonSink, JsonSinkOptions),
    }[form]

    @settings(derandomize=True, database=None, max_examples=25, deadline=None)
    @given(st.lists(written(layout), min_size=1, max_size=4))
    def go(rows: list[bytes]) -> None:
        data = b"\n".join(rows) if form == "jsonl" else b"[\n" + b",\n".join(rows) + b"\n]\n"
        (tmp_path / f"in.{form}").write_bytes(data)
        config = options.model_validate(
            {"path": f"in.{form}", "layout": layout}, context={"folder": str(tmp_path)}
        )
        out = sink(sink_options(), tmp_path)
        for record in source(config).read():
            assert isinstance(record, Record), record
            out.keep(record)
        out.close()
        assert (tmp_path / f"kept.{form}").read_bytes() == data

    go()


def test_a_run_over_conversations_drops_what_it_rejects_and_nothing_else(tmp_path: Path) -> None:
    """From an array to an array through a model, with earlier turns in the prompts."""
    said = [
        [("user", "add"), ("assistant", "a + b"), ("user", "and c?"), ("assistant", "a + b + c")],
        [("user", "halve"), ("assistant", "a / 2"), ("user", "thanks")],
        [("user", ""), ("assistant", "no query")],
        [("user", "nobody answers")],
    ]
    rows = [
        json.dumps({"n": 1.0, "messages": [{"role": r, "content": c} for r, c in talk]}, indent=1)
        for talk in said
    ]
    (tmp_path / "in.json").write_text(f"[{', '.join(rows)}]", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nname: talks\ninput: {use: json, path: in.json, max_errors: 1}\n"
        "models: {toy: {use: ngram}}\nsteps: [{id: rmi, use: rmi, keep: {min: -100}}]\n"
        "output: {use: json, path: out}\nrun: {store: false}\n"
    )
    report = qaqfilter.run(tmp_path / "recipe.yaml")
    assert (report.read, report.kept, report.rejected, report.quarantined) == (4, 2, 1, 1)
    kept = (tmp_path / "out" / "kept.json").read_text(encoding="utf-8")
    assert kept == "[\n" + ",\n".join(rows[:2]) + "\n]\n"
    (rejected,) = json.loads((tmp_path / "out" / "rejected.json").read_text(encoding="utf-8"))
    assert (rejected["reason"], rejected["ordinal"]) == ("empty_query", 2)
    assert rejected["record"] == json.loads(rows[2])
