"""`output.annotate`: a kept record's numbers beside its own fields, which stay as they are."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import qaqfilter
from qaqfilter import (
    Annotates,
    Component,
    Options,
    Origin,
    RecipeError,
    Record,
    RunDirectoryError,
    SourceError,
)
from qaqfilter.output_checks import can_annotate
from qaqfilter_csv.sink import CsvSink
from qaqfilter_jsonl.sink import JsonlSink, JsonlSinkOptions, JsonSink
from qaqfilter_parquet.sink import ParquetSink, ParquetSinkOptions

STEPS = (
    "  - {id: size, use: length, of: answer, keep: {min: 28}}\n"
    "  - {id: rmi, use: rmi}\n"
    "  - {id: half, use: random, keep: {fraction: 0.5}}\n"
    "  - id: own\n    use: rmi\n    prompt: {use: plain, separator: ' = '}"
)
NAMES = {
    "own@toy": ["query", "query_given_answer"],
    "toy": ["query", "query_given_answer"],
    "size": ["length"],
    "rmi": ["rmi", "nll_query", "nll_query_given_answer"],
    "half": ["random"],
    "own": ["rmi", "nll_query", "nll_query_given_answer"],
}
QAQ = "output.annotate=qaq"


@pytest.fixture
def recipe(write_recipe):
    return write_recipe(STEPS)


def numbers(out: Path) -> list[dict]:
    """What scores.parquet holds of the kept records, arranged like the annotation."""
    found = []
    for row in pq.read_table(out / "scores.parquet").to_pylist():
        if row["kept"]:
            found.append(
                {
                    owner: {
                        name: -row[f"{owner}.{name}.logprob"] / row[f"{owner}.{name}.tokens"]
                        if "toy" in owner
                        else row[f"{owner}.{name}"]
                        for name in names
                    }
                    for owner, names in NAMES.items()
                }
            )
    return found


def rows_of(out: Path, use: str) -> list[dict]:
    path = out / f"kept.{use}"
    match use:
        case "jsonl":
            return [json.loads(line) for line in path.read_bytes().splitlines()]
        case "json":
            return json.loads(path.read_bytes())
        case "csv":
            with path.open(newline="") as file:
                return [{**row, "qaq": json.loads(row["qaq"])} for row in csv.DictReader(file)]
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("use", ["jsonl", "json", "csv", "parquet"])
def test_the_numbers_are_those_of_the_run_and_the_rest_is_the_original(recipe, tmp_path, use):
    out = qaqfilter.run(recipe, overrides=[QAQ, f"output.use={use}"]).folder
    rows = rows_of(out, use)
    originals = [json.loads(line) for line in (tmp_path / "data.jsonl").read_text().splitlines()]
    assert [row["qaq"] for row in rows] == numbers(out)
    assert 0 < len(rows) < 8
    bare = [{name: row[name] for name in row if name != "qaq"} for row in rows]
    assert [row for row in originals if row in bare] == bare
    assert [list(row) for row in rows] == [["query", "answer", "qaq"]] * len(rows)
    assert list(rows[0]["qaq"]) == list(NAMES)
    assert all(
        math.isfinite(v) for row in rows for owned in row["qaq"].values() for v in owned.values()
    )


@pytest.mark.parametrize("use", ["jsonl", "csv", "parquet"])
def test_select_writes_what_run_does(recipe, tmp_path, use):
    change = [QAQ, f"output.use={use}", "output.card=false"]
    name = f"kept.{use}"
    out = qaqfilter.run(recipe, overrides=change).folder
    other = [f"output.path={tmp_path / 'other'}"]
    qaqfilter.select_recipe(recipe, overrides=[*change, *other], scores=out)
    assert (tmp_path / "other" / name).read_bytes() == (out / name).read_bytes()
    # Numbers that a run of this recipe would not have are left out, though they are known.
    text = recipe.read_text()
    recipe.write_text(text[: text.index("  - id: own")] + text[text.index("\noutput:") + 1 :])
    third = [f"output.path={tmp_path / 'third'}"]
    qaqfilter.select_recipe(recipe, overrides=[*change, *third], scores=out)
    fourth = [f"output.path={tmp_path / 'fourth'}"]
    qaqfilter.run(recipe, overrides=[*change, *fourth])
    found = rows_of(tmp_path / "third", use)
    assert found == rows_of(tmp_path / "fourth", use)
    assert "own" not in found[0]["qaq"]


def test_what_is_undefined_is_null(write_recipe):
    pairs = [("add two numbers", "a + b"), ("", "nothing was asked")]
    recipe = write_recipe("  - {id: rmi, use: rmi}", pairs=pairs)
    for use in ("jsonl", "parquet"):
        out = qaqfilter.run(recipe, overrides=[QAQ, f"output.use={use}"], replace=True).folder
        first, second = rows_of(out, use)
        assert first["qaq"]["toy"]["query"] > 0
        assert second["qaq"]["toy"] == {"query": None, "query_given_answer": None}
        assert set(second["qaq"]["rmi"].values()) == {None}


def test_parquet_keeps_its_schema_and_gets_float64(recipe, tmp_path):
    table = pa.table(
        {
            "query": ["add two numbers", "square it"],
            "answer": ["def add(a, b):\n    return a + b", "def square(a):\n    return a * a"],
            "stars": pa.array([5, None], pa.int8()),
        }
    ).replace_schema_metadata({"made by": "me"})
    pq.write_table(table, tmp_path / "table.parquet")
    change = [QAQ, "input.use=parquet", "input.path=table.parquet", "output.use=parquet"]
    change += ["steps.half.keep.fraction=1"]
    out = qaqfilter.run(recipe, overrides=change).folder
    kept = pq.read_table(out / "kept.parquet")
    assert kept.drop_columns(["qaq"]).equals(table)
    assert kept.schema.metadata == {b"made by": b"me"}
    kind = kept.schema.field("qaq").type
    assert {f.name: [g.name for g in f.type] for f in kind} == NAMES
    assert {inner.type for owner in kind for inner in owner.type} == {pa.float64()}
    assert kept["qaq"].to_pylist() == numbers(out)
    none = qaqfilter.run(recipe, overrides=[*change, "steps.size.keep.min=99"], replace=True).folder
    empty = pq.read_table(none / "kept.parquet")
    assert (empty.num_rows, empty.schema) == (0, kept.schema)


@pytest.mark.parametrize("use", ["jsonl", "parquet"])
def test_a_field_of_that_name_is_refused_before_anything_is_scored(recipe, tmp_path, use):
    rows = [{"query": "a", "answer": "b"}, {"query": "c", "answer": "d", "qaq": 1}]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows[1:]), tmp_path / "data.parquet")
    change = [QAQ, f"input.use={use}", f"input.path=data.{use}", "steps.size.keep.min=0"]
    where = r"data\.jsonl:2" if use == "jsonl" else r"data\.parquet#0"
    with pytest.raises(SourceError, match=where + r": there is a field 'qaq' already") as caught:
        qaqfilter.run(recipe, overrides=change)
    assert "--set output.annotate=qaq_scores" in str(caught.value)
    assert not (tmp_path / "out").exists()
    report = qaqfilter.run(recipe, overrides=[*change, "output.annotate=qaq_scores"])
    qaqfilter.run(recipe, overrides=change[1:], replace=True)
    with pytest.raises(SourceError, match="field 'qaq' already"):
        qaqfilter.select_recipe(recipe, overrides=change, replace=True)
    assert report.read == (2 if use == "jsonl" else 1)


class Plain:
    def __init__(self, config, folder): ...
    def keep(self, record): ...
    def reject(self, record, rejection): ...
    def close(self): ...


def make_plain(config, folder) -> Plain:
    return Plain(config, folder)


def make_jsonl(config, folder) -> JsonlSink:
    return JsonlSink(config, folder)


def test_which_sinks_can():
    for sink in (JsonlSink, JsonSink, CsvSink, ParquetSink):
        assert issubclass(sink, Annotates)
    for made, can in ((Plain, False), (make_plain, False), (make_jsonl, True), (print, False)):
        assert can_annotate(Component("x", Options, made, "")) is can


def test_a_sink_that_cannot_is_told_in_the_recipe(recipe, tmp_path):
    plugin = tmp_path / "plain.py"
    plugin.write_text(
        "from qaqfilter import Component, Options, hookimpl\n"
        "class Plain:\n"
        "    def __init__(self, config, folder): ...\n"
        "    def keep(self, record): ...\n"
        "    def reject(self, record, rejection): ...\n"
        "    def close(self): ...\n"
        "@hookimpl\n"
        "def qaqfilter_sinks():\n"
        "    yield Component('plain', Options, Plain, 'nothing')\n"
    )
    with pytest.raises(RecipeError, match=r"output\.annotate: sink 'plain' writes records as they"):
        qaqfilter.run(recipe, overrides=[QAQ, "output.use=plain"], plugins=[plugin])
    assert qaqfilter.run(recipe, overrides=["output.use=plain"], plugins=[plugin]).read == 8


def record(row: bytes) -> Record:
    return Record("x", "q", "a", row, Origin("part", 0, 1))


@pytest.mark.parametrize(
    ("row", "written"),
    [
        (b'{"a": 1}\n', b'{"a": 1, "qaq": {"m":{"x":0.5,"y":null}}}\n'),
        (b'{"a": {"b": 1} }  \r\n', b'{"a": {"b": 1} , "qaq": {"m":{"x":0.5,"y":null}}}  \r\n'),
        (b"\xef\xbb\xbf{ }", b'\xef\xbb\xbf{ "qaq": {"m":{"x":0.5,"y":null}}}'),
        (b'{"a": "\\u00e9 }"}', b'{"a": "\\u00e9 }", "qaq": {"m":{"x":0.5,"y":null}}}'),
    ],
)
def test_bytes_before_the_field_stay(tmp_path, row, written):
    sink = JsonlSink(JsonlSinkOptions(), tmp_path)
    sink.annotate("qaq", {"m": ["x", "y"]})
    sink.keep_with(record(row), {"m": {"x": 0.5, "y": None}})
    sink.close()
    assert (tmp_path / "kept.jsonl").read_bytes() == written


def test_a_row_that_is_no_object_is_refused(tmp_path):
    sink = JsonlSink(JsonlSinkOptions(), tmp_path)
    sink.annotate("qaq", {})
    with pytest.raises(RunDirectoryError, match=r"part:1: this is no object"):
        sink.keep_with(record(b'["a"]'), {})
    sink.close()


@pytest.mark.parametrize("tail", [b"\n", b"\r\n", b""])
def test_csv_rows_keep_their_bytes_and_line_ends(recipe, tmp_path, tail):
    head = b'query,"answer"' + (tail or b"\n")
    row = b'add two numbers,"def add(a, b):\n  return ""a"" + b"'
    (tmp_path / "data.csv").write_bytes(head + row + tail)
    change = [
        "input.use=csv",
        "input.path=data.csv",
        "output.use=csv",
        "steps.half.keep.fraction=1",
    ]
    out = qaqfilter.run(recipe, overrides=[*change, QAQ]).folder
    written = (out / "kept.csv").read_bytes()
    assert written.startswith(b'query,"answer",qaq' + (tail or b"\n") + row + b',"{""own@toy"":{')
    assert written.endswith(b'}}"' + tail)
    assert [row["qaq"] for row in rows_of(out, "csv")] == numbers(out)


def test_parquet_of_rows_that_wait_for_a_schema(tmp_path):
    sink = ParquetSink(ParquetSinkOptions(infer_rows=2), tmp_path)
    sink.annotate("n", {"m": ["x"]})
    for value in (1.0, None, 3.0):
        sink.keep_with(record(b'{"a": "b"}'), {"m": {"x": value}})
    sink.close()
    assert pq.read_table(tmp_path / "kept.parquet").to_pylist() == [
        {"a": "b", "n": {"m": {"x": value}}} for value in (1.0, None, 3.0)
    ]


def test_the_recipe_on_the_card_asks_for_it_too(recipe):
    out = qaqfilter.run(recipe, overrides=[QAQ]).folder
    assert "  annotate: qaq\n" in (out / "README.md").read_text()
