"""Parquet in and out: values, types and metadata stay; what cannot be read is named."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import qaqfilter
from qaqfilter import (
    BadRecord,
    Origin,
    RecipeError,
    Record,
    Rejection,
    RunDirectoryError,
    SourceError,
)
from qaqfilter_parquet.sink import ParquetSink, ParquetSinkOptions
from qaqfilter_parquet.source import ParquetSource, ParquetSourceOptions

WHY = Rejection("len", "below_min", 1.0, None)


def source(folder: Path, path: object = "a.parquet", **options: object) -> ParquetSource:
    block = {"path": path, **options}
    context = {"folder": str(folder)}
    return ParquetSource(ParquetSourceOptions.model_validate(block, context=context))


def sink(folder: Path, **options: object) -> ParquetSink:
    return ParquetSink(ParquetSinkOptions.model_validate(options), folder)


def pairs(size: int, **more: object) -> pa.Table:
    texts = {
        "query": [f"Q{n}" for n in range(size)],
        "answer": ["a b c d"[: n % 8] for n in range(size)],
    }
    return pa.table({**texts, **more})


def every_type() -> pa.Table:
    """Two rows of what Arrow has and Python or JSON would lose."""
    return pairs(
        2,
        i8=pa.array([1, None], pa.int8()),
        u64=pa.array([2**64 - 1, 0], pa.uint64()),
        f16=pa.array([0.5, 1.5], pa.float16()),
        f32=pa.array([math.inf, None], pa.float32()),
        nanos=pa.array([1, 2], pa.timestamp("ns")),
        zone=pa.array([1, 2], pa.timestamp("us", "Europe/Berlin")),
        far=pa.array([2**20, 2**22], pa.date32()),
        time=pa.array([1, 2], pa.time64("ns")),
        lasts=pa.array([1, 2], pa.duration("ns")),
        money=pa.array([decimal.Decimal("1.10"), None]),
        raw=pa.array([b"\xff\0", b""]),
        fixed=pa.array([b"ab", b"cd"], pa.binary(2)),
        words=pa.array(["u", "v"]).dictionary_encode(),
        uuid=pa.array([b"0" * 16, b"1" * 16], pa.uuid()),
        pairs=pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int16())),
        turns=pa.array([[{"at": datetime.datetime(2020, 1, 1), "to": [1]}], []]),
        vector=pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
        large=pa.array([["x"], None], pa.large_list(pa.large_string())),
        nothing=pa.nulls(2),
    ).replace_schema_metadata({"huggingface": '{"info": {}}', "mine": "é"})


def test_every_type_leaves_as_it_came(tmp_path) -> None:
    pq.write_table(every_type(), tmp_path / "a.parquet")
    before = pq.read_table(tmp_path / "a.parquet")
    records = list(source(tmp_path).read())
    out = sink(tmp_path)
    out.keep(records[0])
    out.reject(records[1], WHY)
    out.close()
    kept = pq.read_table(tmp_path / "kept.parquet")
    assert kept.schema.equals(before.schema, check_metadata=True)
    assert kept.equals(before.slice(0, 1))
    rejected = pq.read_table(tmp_path / "rejected.parquet")
    assert rejected.schema.names == [*before.schema.names, "qaq"]
    assert rejected.drop(["qaq"]).equals(before.slice(1, 1))
    why = {"step": "len", "reason": "below_min", "value": 1.0, "bound": None}
    where = {"id": records[1].id, "part": "a.parquet", "ordinal": 1}
    assert rejected["qaq"].to_pylist() == [{**why, **where}]


def test_a_row_is_json_that_shows_every_value(tmp_path) -> None:
    pq.write_table(every_type(), tmp_path / "a.parquet")
    first, second = source(tmp_path).read()
    assert first.row.endswith(b"\n")
    row = json.loads(first.row)
    assert list(row) == list(first.fields)
    assert (first.fields["words"], first.fields["i8"]) == ("u", 1)
    assert (first.origin, second.origin) == (Origin("a.parquet", 0), Origin("a.parquet", 1))
    shown = {
        "u64": 2**64 - 1,
        "f32": "Infinity",
        "nanos": "1970-01-01 00:00:00.000000001",
        "zone": 1,
        "far": "4840-11-26",
        "time": "00:00:00.000000001",
        "money": "1.10",
        "raw": "/wA=",
        "words": "u",
        "pairs": [["k", 1]],
        "turns": [{"at": "2020-01-01 00:00:00.000000", "to": [1]}],
        "vector": [1.0, 2.0],
        "nothing": None,
    }
    assert {name: row[name] for name in shown} == shown


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([math.nan]), pa.array([None], pa.float64())),
        (pa.array([math.inf]), pa.array([-math.inf])),
        (pa.array([[math.nan]]), pa.array([[None]], pa.list_(pa.float64()))),
        (pa.array([{"a": math.nan}]), pa.array([{"a": None}], pa.struct({"a": pa.float64()}))),
        (pa.array([1], pa.timestamp("ns")), pa.array([2], pa.timestamp("ns"))),
        (pa.array([b"\xff"]), pa.array([b"\xfe"])),
        (pa.array([b""]), pa.array([None], pa.binary())),
    ],
)
def test_another_value_is_another_row(tmp_path, one, other) -> None:
    rows = set()
    for values in (one, other):
        pq.write_table(pairs(1, x=values), tmp_path / "a.parquet")
        rows |= {record.row for record in source(tmp_path).read()}
    assert len(rows) == 2


def test_bad_rows_are_named_by_their_number(tmp_path) -> None:
    text = pa.array([b"ok", b"\xff", b"ok", b"ok"]).view(pa.string())
    nested = pa.StructArray.from_arrays([text], ["t"])
    table = pa.table({"query": ["a", "b", None, "d"], "answer": text, "x": nested})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    found = list(source(tmp_path, batch_rows=3).read())
    assert [type(item) for item in found] == [Record, BadRecord, BadRecord, Record]
    assert [item.origin for item in found] == [Origin("a.parquet", n) for n in range(4)]
    assert [item.error for item in found[1:3]] == [
        "field 'answer' holds bytes that are not UTF-8",
        "field 'query' is null, not text",
    ]
    assert json.loads(found[2].row) == {"query": None, "answer": "ok", "x": {"t": "ok"}}


def test_nested_columns_by_path(tmp_path) -> None:
    table = pa.table({"m": [{"q": "Q", "a": {"t": "A"}}], "q": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    (record,) = source(tmp_path, fields={"query": "m.q", "answer": "m.a.t"}).read()
    assert (record.query, record.answer) == ("Q", "A")
    with pytest.raises(SourceError, match=r"a\.parquet#0: the row fits no layout.*fields: m, q"):
        list(source(tmp_path).read())


def test_reading_twice_gives_the_same_whatever_the_batches(tmp_path) -> None:
    pq.write_table(pairs(700), tmp_path / "a.parquet", row_group_size=100)
    reader = source(tmp_path)
    first = [(r.id, r.row, r.origin) for r in reader.read()]
    assert first == [(r.id, r.row, r.origin) for r in reader.read()]
    assert first == [(r.id, r.row, r.origin) for r in source(tmp_path, batch_rows=7).read()]
    assert len(first) == 700


def test_a_dictionary_inside_a_struct_in_several_row_groups(tmp_path) -> None:
    words = pa.array(["u", "v", "u", "w"]).dictionary_encode()
    table = pairs(4, x=pa.StructArray.from_arrays([words], ["word"]))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    records = list(source(tmp_path, batch_rows=3).read())
    assert [record.fields["x"]["word"] for record in records] == ["u", "v", "u", "w"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b'{"query": "Q"}\n' * 9])
def test_no_parquet(tmp_path, content) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.parquet: no parquet file, or one cut short .*anew"):
        list(source(tmp_path).read())


def test_a_file_cut_short_or_damaged(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pairs(5000), path, row_group_size=1000, write_page_checksum=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(SourceError, match="cut short"):
        list(source(tmp_path).read())
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(SourceError, match=r"a\.parquet: damaged.* after row [1-9]\d*000 "):
        list(source(tmp_path, batch_rows=1000).read())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (pairs(1, x=pa.array([1], pa.int32())), "column 'x' is int32, not int64 as in a.parquet"),
        (pairs(1, x=[1], y=[1]), "column 'y' is not in a.parquet"),
        (pairs(1), "column 'x' is missing, which is in a.parquet"),
        (pairs(1, x=[1]).select(["x", "query", "answer"]), "in another order than in a.parquet"),
    ],
)
def test_files_of_an_input_have_one_schema(tmp_path, other, said) -> None:
    pq.write_table(pairs(1, x=[1]), tmp_path / "a.parquet")
    pq.write_table(other, tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=rf"b\.parquet: .*{said}"):
        list(source(tmp_path, "*.parquet").read())


def test_files_may_differ_in_metadata(tmp_path) -> None:
    pq.write_table(pairs(2).replace_schema_metadata({"n": "1"}), tmp_path / "a.parquet")
    pq.write_table(pairs(3).replace_schema_metadata({"n": "2"}), tmp_path / "b.parquet")
    out = sink(tmp_path)
    for record in source(tmp_path, "[ab].parquet").read():
        out.keep(record)
    out.close()
    kept = pq.read_table(tmp_path / "kept.parquet")
    assert kept["query"].to_pylist() == ["Q0", "Q1", "Q0", "Q1", "Q2"]
    assert kept.schema.metadata == {b"n": b"1"}


def test_two_columns_of_one_name(tmp_path) -> None:
    table = pa.table([["Q"], ["A"], [1], [2]], names=["query", "answer", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="two columns are called 'x'"):
        list(source(tmp_path).read())


def test_row_groups_and_shards(tmp_path) -> None:
    pq.write_table(pairs(25), tmp_path / "a.parquet")
    out = sink(tmp_path, row_group_rows=4, shard_rows=10)
    for record in source(tmp_path, batch_rows=7).read():
        out.keep(record)
    out.close()
    shards = sorted(tmp_path.glob("kept*"))
    assert [path.name for path in shards] == [f"kept-0000{n}.parquet" for n in range(3)]
    groups = [pq.ParquetFile(path).metadata for path in shards]
    sizes = [[m.row_group(i).num_rows for i in range(m.num_row_groups)] for m in groups]
    assert sizes == [[4, 4, 2], [4, 4, 2], [4, 1]]
    assert pa.concat_tables(map(pq.read_table, shards)).equals(pairs(25))


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "none"])
def test_compression(tmp_path, compression) -> None:
    pq.write_table(pairs(2), tmp_path / "a.parquet")
    out = sink(tmp_path, compression=compression)
    out.keep(next(source(tmp_path).read()))
    out.close()
    found = pq.ParquetFile(tmp_path / "kept.parquet").metadata.row_group(0).column(0).compression
    assert found == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())


def test_nothing_kept_is_a_file_with_the_columns(tmp_path) -> None:
    pq.write_table(pairs(1, qaq=[1]), tmp_path / "a.parquet")
    out = sink(tmp_path)
    out.reject(next(source(tmp_path).read()), WHY)
    out.close()
    kept = pq.read_table(tmp_path / "kept.parquet")
    assert (kept.num_rows, kept.schema.names) == (0, ["query", "answer", "qaq"])
    assert pq.read_schema(tmp_path / "rejected.parquet").names[-2:] == ["qaq", "qaq_2"]


# --- records of another format


def of_json(*rows: dict) -> list[Record]:
    return [
        Record(str(n), "Q", "A", json.dumps(row).encode(), Origin("d.jsonl", n, n + 1), None, row)
        for n, row in enumerate(rows)
    ]


def test_a_schema_from_the_first_records(tmp_path) -> None:
    rows = [{"a": 1, "t": [{"r": "u"}]}, {"b": "x", "a": None}, {"a": 3, "b": None, "t": []}]
    out = sink(tmp_path, infer_rows=2)
    for record in of_json(*rows):
        out.keep(record)
    out.close()
    kept = pq.read_table(tmp_path / "kept.parquet")
    assert str(kept.schema.field("a").type) == "int64"
    assert kept.schema.names == ["a", "t", "b"]
    assert kept.to_pylist() == [{"a": None, "t": None, "b": None, **row} for row in rows]


@pytest.mark.parametrize(
    ("rows", "infer_rows", "said"),
    [
        ([{"a": 1}, {"a": 2.5}], 1, r"d\.jsonl:2: field 'a' is not int64.*output\.infer_rows"),
        ([{"a": [1]}, {"a": [True]}], 1, r"d\.jsonl:2: field 'a' is not int64, as"),
        ([{"a": 0.5}, {"a": 2**60}], 1, r"d\.jsonl:2: field 'a' is not double, as"),
        ([{"a": None}, {"a": "x"}], 1, r"d\.jsonl:2: field 'a' is not null, as"),
        ([{"a": 1}, {"a": 1, "b": 2}], 1, r"d\.jsonl:2: field 'b' was in no record before"),
        ([{"a": {"b": 1}}, {"a": {"c": 1}}], 1, r"d\.jsonl:2: field 'a\.c' was in no record"),
        ([{"a": [{"b": 1}]}, {"a": [{"c": 1}]}], 1, r"d\.jsonl:2: field 'a\.c' was in no"),
        ([{"a": "x"}, {"a": "y"}, {"a": 1}], 9, r"d\.jsonl:3: field 'a' has another type"),
        ([{"a": 2**64}, {"a": 1}], 9, r"d\.jsonl:1: field 'a' has another type"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, rows, infer_rows, said) -> None:
    out = sink(tmp_path, infer_rows=infer_rows)
    with pytest.raises(RunDirectoryError, match=said):
        for record in of_json(*rows):
            out.keep(record)
        out.close()
    out.close()


# --- whole runs


def recipe(folder: Path, source: str, sink: str, steps: str = "") -> Path:
    path = folder / "recipe.yaml"
    steps = steps or "  - {id: ifd, use: ifd, keep: {fraction: 0.5}, group: src}\n"
    path.write_text(
        f"version: 1\nname: p\ninput: {source}\nmodels: {{toy: {{use: ngram}}}}\n"
        f"steps:\n{steps}output: {sink}\n"
    )
    return path


def test_score_and_select(tmp_path) -> None:
    table = pairs(40, src=["a", "b"] * 20, n=pa.array(range(40), pa.int16()))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=9)
    path = recipe(tmp_path, "{use: parquet, path: a.parquet}", "{use: parquet, path: out}")
    qaqfilter.score_recipe(path)
    report = qaqfilter.select_recipe(path)
    assert report.kept + report.rejected == 40
    assert report.kept > 0
    kept = pq.read_table(tmp_path / "out" / "kept.parquet")
    assert kept.equals(table.take(kept["n"].cast(pa.int64())))
    assert kept.num_rows == report.kept
    gone = pq.read_table(tmp_path / "out" / "rejected.parquet")
    assert sorted(kept["n"].to_pylist() + gone["n"].to_pylist()) == list(range(40))
    before = (tmp_path / "out" / "kept.parquet").read_bytes()
    qaqfilter.run(path, replace=True)
    assert (tmp_path / "out" / "kept.parquet").read_bytes() == before


def test_from_and_to_jsonl(tmp_path) -> None:
    pq.write_table(pairs(8, at=pa.array(range(8), pa.timestamp("ns"))), tmp_path / "a.parquet")
    steps = "  - {id: len, use: length, of: answer, keep: {min: 4}}\n"
    path = recipe(tmp_path, "{use: parquet, path: a.parquet}", "{use: jsonl, path: out}", steps)
    kept = qaqfilter.run(path).kept
    lines = (tmp_path / "out" / "kept.jsonl").read_text().splitlines()
    assert [json.loads(line)["query"] for line in lines] == ["Q4", "Q5", "Q6", "Q7"]
    path = recipe(
        tmp_path, "{use: jsonl, path: out/kept.jsonl}", "{use: parquet, path: two}", steps
    )
    assert qaqfilter.run(path).kept == kept == 4
    assert pq.read_table(tmp_path / "two" / "kept.parquet")["query"].to_pylist() == [
        "Q4", "Q5", "Q6", "Q7",
    ]  # fmt: skip


def test_shards_of_an_earlier_run_go(tmp_path) -> None:
    pq.write_table(pairs(8), tmp_path / "a.parquet")
    steps = "  - {id: len, use: length, of: answer, keep: {min: 1}}\n"
    sink = "{use: parquet, path: out, shard_rows: 2}"
    path = recipe(tmp_path, "{use: parquet, path: a.parquet}", sink, steps)
    qaqfilter.run(path)
    names = [f"kept-0000{n}.parquet" for n in range(4)]
    assert sorted(p.name for p in (tmp_path / "out").glob("kept*")) == names
    qaqfilter.run(path, overrides=["output.shard_rows=null"], replace=True)
    assert [p.name for p in (tmp_path / "out").glob("kept*")] == ["kept.parquet"]


@pytest.mark.parametrize("pattern", ["'*.parquet'", "kept-00000.parquet", "'kept-*.parquet'"])
def test_a_run_never_reads_what_it_writes(tmp_path, pattern) -> None:
    pq.write_table(pairs(1), tmp_path / "a.parquet")
    path = recipe(tmp_path, f"{{use: parquet, path: {pattern}}}", "{use: parquet, path: .}")
    with pytest.raises(RecipeError, match="must not become its"):
        qaqfilter.load_recipe(path)


def test_a_full_disk(tmp_path) -> None:
    """No file may grow over 20 kB: one message, nothing left."""
    resource = pytest.importorskip("resource")
    table = pairs(3000, x=[os.urandom(40) for _ in range(3000)])
    pq.write_table(table, tmp_path / "a.parquet")
    steps = "  - {id: len, use: length, of: query, keep: {min: 1}}\n"
    path = recipe(tmp_path, "{use: parquet, path: a.parquet}", "{use: parquet, path: out}", steps)
    done = subprocess.run(
        [sys.executable, "-m", "qaqfilter", "run", str(path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write to" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("kept*"))


def test_options_are_checked(tmp_path) -> None:
    with pytest.raises(ValidationError, match=r"Input should be .auto., .messages"):
        source(tmp_path, layout="alpacca")
    with pytest.raises(ValidationError, match="layout and fields exclude each other"):
        source(tmp_path, layout="alpaca", fields={"query": "q", "answer": "a"})


# --- anything at all

TYPES = st.recursive(
    st.sampled_from(
        [
            pa.int8(),
            pa.uint64(),
            pa.float32(),
            pa.float64(),
            pa.bool_(),
            pa.string(),
            pa.binary(),
            pa.large_string(),
            pa.date32(),
            pa.timestamp("ns"),
            pa.timestamp("ms", "UTC"),
            pa.time64("ns"),
            pa.duration("us"),
            pa.decimal128(9, 2),
            pa.null(),
            pa.dictionary(pa.int32(), pa.string()),
        ]
    ),
    lambda inner: st.one_of(
        st.builds(pa.list_, inner),
        st.builds(lambda a, b: pa.struct({"a": a, "b": b}), inner, inner),
    ),
    max_leaves=3,
)
PLAIN = {
    "int8": st.integers(-128, 127),
    "uint64": st.integers(0, 2**64 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "bool": st.booleans(),
    "string": st.text(max_size=5),
    "large_string": st.text(max_size=5),
    "binary": st.binary(max_size=5),
    "date32[day]": st.integers(-(2**20), 2**20),
    "decimal128(9, 2)": st.integers(-999, 999).map(lambda n: decimal.Decimal(n).scaleb(-2)),
    "null": st.none(),
    "time64[ns]": st.integers(0, 86_399_999_999_999),
}


def value_of(kind: pa.DataType) -> st.SearchStrategy:
    if pa.types.is_list(kind):
        found = st.lists(value_of(kind.value_type), max_size=3)
    elif pa.types.is_struct(kind):
        found = st.fixed_dictionaries({field.name: value_of(field.type) for field in kind})
    elif pa.types.is_dictionary(kind):
        found = st.sampled_from(["u", "v", ""])
    else:
        found = PLAIN.get(str(kind), st.integers(-(2**60), 2**60))
    return st.none() | found


@st.composite
def tables(draw) -> pa.Table:
    size = draw(st.integers(0, 12))
    columns = {}
    for name in draw(st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=3)):
        if name not in ("query", "answer", "id", "system"):
            kind = draw(TYPES)
            values = draw(st.lists(value_of(kind), min_size=size, max_size=size))
            columns[name] = pa.array(values, kind)
    return pairs(size, **columns)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(table=tables(), batch=st.integers(1, 5), keep=st.lists(st.booleans(), min_size=12))
def test_any_table_leaves_as_it_came(tmp_path_factory, table, batch, keep) -> None:
    folder = tmp_path_factory.mktemp("any")
    pq.write_table(table, folder / "a.parquet", row_group_size=5)
    out = sink(folder, row_group_rows=3)
    rows = []
    for index, record in enumerate(source(folder, layout="query_answer", batch_rows=batch).read()):
        assert isinstance(record, Record)
        assert json.loads(record.row)["query"] == record.query
        if keep[index]:
            out.keep(record)
            rows.append(index)
        else:
            out.reject(record, WHY)
    out.close()
    if not table.num_rows:
        return
    before, kept = pq.read_table(folder / "a.parquet"), pq.read_table(folder / "kept.parquet")
    wanted = before.take(pa.array(rows, pa.int64()))
    assert kept.schema.equals(before.schema, check_metadata=True)
    # repr, since NaN is not equal to itself
    for name in before.schema.names:
        assert _shown(kept[name]) == _shown(wanted[name])


def _shown(column: pa.ChunkedArray) -> str:
    from qaqfilter.arrow_values import json_values

    return repr([value for chunk in column.chunks for value in json_values(chunk)])
