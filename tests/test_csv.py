"""CSV in and out: kept rows byte for byte, whatever their quotes; bad rows are named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import math
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
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
from qaqfilter_csv.sink import CsvSink, CsvSinkOptions
from qaqfilter_csv.source import CsvSource, CsvSourceOptions

HEAD = b"query,answer,n\r\n"
ROWS = [b'Q1,"A, ""1""",1\r\n', b'"Q\n2",A2,\n', b'"",\xc3\xa9,"3\r\n\n"\r\n', b"Q4,A4,4"]
WHY = Rejection("len", "below_min", 1.5, None)


def source(folder: Path, path: object = "a.csv", **options: object) -> CsvSource:
    block = {"path": path, **options}
    return CsvSource(CsvSourceOptions.model_validate(block, context={"folder": str(folder)}))


def read(folder: Path, content: bytes, name: str = "a.csv", **options: object) -> list:
    (folder / name).write_bytes(content)
    return list(source(folder, name, **options).read())


def sink(folder: Path, **options: object) -> CsvSink:
    return CsvSink(CsvSinkOptions.model_validate(options), folder)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_rows_leave_as_they_came(tmp_path, mark, suffix) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    records = read(tmp_path, pack(mark + HEAD + b"".join(ROWS)), f"a.csv{suffix}")
    assert [(r.query, r.answer, r.fields["n"]) for r in records] == [
        ("Q1", 'A, "1"', "1"),
        ("Q\n2", "A2", ""),
        ("", "é", "3\r\n\n"),
        ("Q4", "A4", "4"),
    ]
    assert [r.origin.line for r in records] == [2, 3, 5, 8]
    assert [json.loads(r.row) for r in records] == [r.fields for r in records]
    out = sink(tmp_path)
    for index in (3, 0, 1, 2):
        out.keep(records[index])
    out.close()
    kept = HEAD + ROWS[3] + b"\n" + b"".join(ROWS[:3])
    assert (tmp_path / "kept.csv").read_bytes() == kept


def test_rejected_rows_say_why(tmp_path) -> None:
    records = read(tmp_path, HEAD + b"".join(ROWS))
    out = sink(tmp_path)
    out.reject(records[1], WHY)
    out.close()
    assert (tmp_path / "kept.csv").read_bytes() == HEAD
    with (tmp_path / "rejected.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    why = {"qaq_step": "len", "qaq_reason": "below_min", "qaq_value": "1.5", "qaq_bound": ""}
    where = {"qaq_id": records[1].id, "qaq_part": "a.csv", "qaq_ordinal": "1"}
    assert row == {"query": "Q\n2", "answer": "A2", "n": "", **why, **where}


def test_tabs_and_other_dialects(tmp_path) -> None:
    (record,) = read(tmp_path, b"query\tanswer\na,b\t'c'\n", "a.tsv")
    assert (record.query, record.answer) == ("a,b", "'c'")
    out = sink(tmp_path)
    out.keep(record)
    out.close()
    assert (tmp_path / "kept.tsv").read_bytes() == b"query\tanswer\na,b\t'c'\n"
    (record,) = read(tmp_path, b"query;answer\n'a;b';c,d\n", delimiter=";", quotechar="'")
    assert (record.query, record.answer) == ("a;b", "c,d")


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (b"Q,A\n", "2 fields, where the header has 3"),
        (b"Q,A,1,2\n", "4 fields, where the header has 3"),
        (b"Q,\0,1\n", "a NUL, at byte 3 of the row"),
        (b"Q,\xff,1\n", "not UTF-8: byte 0xff at byte 3 of the row"),
        (b'"Q\xff\n",A,1\n', "not UTF-8: byte 0xff at byte 3 of the row"),
        (b'"Q"x,A,1\n', "text behind a closing quote"),
        (b'"Q\nR" ,A,1\n', "text behind a closing quote"),
        (b"Q,A\r,1\n", "a carriage return outside of quotes"),
    ],
)
def test_bad_rows(tmp_path, row, error) -> None:
    found = read(tmp_path, HEAD + ROWS[0] + row + b"\n" + ROWS[1])
    assert [type(item) for item in found] == [Record, BadRecord, Record]
    assert found[1].error.startswith(error)
    assert (found[1].row, found[1].origin) == (row, Origin("a.csv", 1, 3))
    assert found[2].fields.raw == ROWS[1]


def test_a_quote_that_is_never_closed(tmp_path, caplog) -> None:
    rest = b'"Q,A,1\n' + ROWS[3]
    found = read(tmp_path, HEAD + ROWS[0] + rest)
    assert found[1].error.startswith('a quote (") that is never closed')
    assert (len(found), found[1].row) == (2, rest)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_the_size_of_a_row_is_bounded(tmp_path, suffix) -> None:
    """An open quote loses its rows up to the limit, and what follows is read again."""
    row = b"Q,%s,1\n" % (b"x" * 95)
    data = HEAD + row + b'"' + row * 30 + row.replace(b"x", b"y" * 9) + row
    data = zstandard.compress(data) if suffix else data
    found = read(tmp_path, data, f"a.csv{suffix}", max_record_bytes=1001)
    assert isinstance(found[0], Record)
    assert isinstance(found[1], BadRecord)
    assert found[1].error.startswith("a row of more bytes than input.max_record_bytes = 1001")
    assert found[1].row == (b'"' + row * 10)[:1000]
    assert [item.origin.line for item in found[2:]] == list(range(14, 35))
    assert all(isinstance(item, Record) for item in found[2:])


def test_a_long_field_and_a_line_at_the_limit(tmp_path) -> None:
    long = b"Q,%s,1\n" % (b"x" * 300_000)
    most = len(long)
    found = read(tmp_path, HEAD + long + b"x" + long + ROWS[3], max_record_bytes=most)
    assert [type(item) for item in found] == [Record, BadRecord, Record]
    assert len(found[0].answer) == 300_000


def test_blank_lines_and_empty_files(tmp_path) -> None:
    records = read(tmp_path, b"\n" + HEAD + b"\r\n\n" + ROWS[0] + b"\n")
    assert [r.origin.line for r in records] == [5]
    assert read(tmp_path, b"") == []
    assert read(tmp_path, b"\xef\xbb\xbf") == []
    assert read(tmp_path, HEAD) == []


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_an_archive_cut_short(tmp_path, suffix, caplog) -> None:
    rows = b"".join(b"Q%d,A%d,1\n" % (n, n * n * 7919) for n in range(30_000))
    pack = gzip.compress if suffix == ".gz" else zstandard.compress
    found = read(tmp_path, pack(HEAD + rows)[:-20], f"a.csv{suffix}")
    assert isinstance(found[-1], BadRecord)
    assert "the compressed data end too early" in found[-1].error
    assert rows.startswith(b"".join(item.fields.raw for item in found[:-1]))
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"query,answer,query\n", "a.csv:1: two columns are called 'query'"),
        (b"query,\xff\n", "a.csv:1: the header cannot be read: not UTF-8"),
        (b'"query,answer\n', "a.csv:1: the header cannot be read: a quote"),
        (b"a,b\n", r"a.csv:2: the row fits no layout.*fields: a, b"),
    ],
)
def test_headers_of_no_use(tmp_path, header, said) -> None:
    with pytest.raises(SourceError, match=said):
        read(tmp_path, header + b"1,2\n")


def test_files_of_an_input_have_one_header(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes(HEAD + ROWS[0])
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + HEAD + ROWS[1])
    assert len(list(source(tmp_path, "*.csv").read())) == 2
    (tmp_path / "b.csv").write_bytes(b"answer,query,n\n" + ROWS[1])
    with pytest.raises(SourceError, match=r"b\.csv: another header, delimiter or quote than in a"):
        list(source(tmp_path, "*.csv").read())


def test_reading_twice_gives_the_same(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes(HEAD + b"".join(ROWS))
    reader = source(tmp_path)
    assert list(reader.read()) == list(reader.read())


@pytest.mark.parametrize("option", [{"delimiter": "\n"}, {"delimiter": "ab"}, {"quotechar": "é"}])
def test_options_are_checked(tmp_path, option) -> None:
    with pytest.raises(ValidationError):
        source(tmp_path, **option)


def test_records_of_another_format(tmp_path) -> None:
    rows = [{"a": "x,y", "b": None}, {"b": [1], "a": 2}, {"a": "", "c": 1}]
    records = [Record("i", "Q", "A", b"", Origin("d", n), None, row) for n, row in enumerate(rows)]
    out = sink(tmp_path)
    out.keep(records[0])
    out.keep(records[1])
    with pytest.raises(RunDirectoryError, match=r"d#2: field 'c' was not in the first record"):
        out.keep(records[2])
    out.close()
    assert (tmp_path / "kept.csv").read_bytes() == b'a,b\n"x,y",\n2,[1]\n'


def test_values_that_json_lacks(tmp_path) -> None:
    row = {"a": b"\xff", "b": Decimal("1.10"), "c": math.inf, "d": [b""], "e": 2.5}
    out = sink(tmp_path)
    out.keep(Record("i", "Q", "A", b"", Origin("d", 0), None, row))
    out.close()
    assert (tmp_path / "kept.csv").read_bytes() == b'a,b,c,d,e\n/w==,1.10,inf,"[""""]",2.5\n'


# --- whole runs


def recipe(folder: Path, source: str, out: str = "{use: csv, path: out}") -> Path:
    path = folder / "recipe.yaml"
    path.write_text(
        f"version: 1\nname: c\ninput: {source}\nmodels: {{toy: {{use: ngram}}}}\n"
        "steps:\n  - {id: ifd, use: ifd, keep: {fraction: 0.5}, group: src}\n"
        f"output: {out}\n"
    )
    return path


@pytest.mark.parametrize("out", ["csv", "jsonl", "parquet"])
def test_score_and_select(tmp_path, out) -> None:
    rows = [b'Q%d,"%s",%d\n' % (n, b"a\nb "[: n % 5] * 3, n % 2) for n in range(40)]
    (tmp_path / "a.csv").write_bytes(b"query,answer,src\n" + b"".join(rows) + b"bad\n")
    source = "{use: csv, path: a.csv, max_errors: 1}"
    path = recipe(tmp_path, source, f"{{use: {out}, path: out}}")
    qaqfilter.score_recipe(path)
    report = qaqfilter.select_recipe(path)
    assert (report.kept + report.rejected, report.quarantined) == (40, 1)
    assert report.kept > 0
    kept = (tmp_path / "out" / f"kept.{out}").read_bytes()
    if out == "csv":
        found = kept.removeprefix(b"query,answer,src\n").replace(b"\nQ", b"\n\0Q").split(b"\0")
        assert len(found) == report.kept
        assert set(found) <= set(rows)
    elif out == "jsonl":
        assert {json.loads(line)["src"] for line in kept.splitlines()} == {"0", "1"}
    qaqfilter.run(path, replace=True)
    assert (tmp_path / "out" / f"kept.{out}").read_bytes() == kept


@pytest.mark.parametrize("pattern", ["'*.csv'", "kept.csv.gz", "'k*.tsv'"])
def test_a_run_never_reads_what_it_writes(tmp_path, pattern) -> None:
    path = recipe(tmp_path, f"{{use: csv, path: {pattern}}}", "{use: csv, path: .}")
    with pytest.raises(RecipeError, match="must not become its"):
        qaqfilter.load_recipe(path)


# --- anything at all

FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NASTY = st.text("\",\n\r 'é\ufeff", max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    rows=st.lists(st.lists(FIELD | NASTY, min_size=3, max_size=3), max_size=8),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from([b"\n", b"\r\n"]),
    keep=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_any_table_leaves_as_it_came(tmp_path_factory, rows, quoting, end, keep) -> None:
    folder = tmp_path_factory.mktemp("any")
    written = []
    for row in [["query", "answer", "n"], *rows]:
        text = io.StringIO()
        csv.writer(text, quoting=quoting).writerow(row)
        written.append(text.getvalue().removesuffix("\r\n").encode() + end)
    found = read(folder, b"".join(written))
    assert [list(item.fields.values()) for item in found] == rows
    out = sink(folder)
    for item, yes in zip(found, keep, strict=False):
        if yes:
            out.keep(item)
        else:
            out.reject(item, WHY)
    out.close()
    if gone := [row for row, yes in zip(rows, keep, strict=False) if not yes]:
        with (folder / "rejected.csv").open(newline="", encoding="utf-8") as file:
            assert [row[:3] for row in csv.reader(file)][1:] == gone
    kept = [raw for raw, yes in zip(written[1:], keep, strict=False) if yes]
    assert (folder / "kept.csv").read_bytes() == (written[0] if rows else b"") + b"".join(kept)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    body=st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"\xff", b"\0", b"\xc3\xa9"])),
    most=st.sampled_from([8, 30, 1 << 24]),
)
@example(body=[b'"', b"\n", b'"', b"a", b"\n"], most=1 << 24)
def test_every_byte_is_in_some_row(tmp_path_factory, body, most) -> None:
    """Rows and bad rows together are the file, blank lines left out, however hostile its quotes."""
    data = b"".join(body)
    found = read(
        tmp_path_factory.mktemp("any"), b"q,a\n" + data, layout="alpaca", max_record_bytes=most
    )
    raws = [item.row for item in found]
    place = 0
    for raw in raws:
        assert raw
        start = data.index(raw, place)
        if most > 30:
            assert not data[place:start].strip(b"\r\n")
        place = start + len(raw)
    if most > 30:
        assert not data[place:].strip(b"\r\n")
