"""JSON lines in and out: untouched rows, honest bad records, whole files."""

from __future__ import annotations

import gzip
import io
import json
import logging
import struct
import tracemalloc
import zlib
from pathlib import Path

import orjson
import pytest
import zstandard
from pydantic import ValidationError

from qaqfilter import BadRecord, Origin, Record, Rejection, SourceError
from qaqfilter_jsonl.sink import JsonlSink, JsonlSinkOptions
from qaqfilter_jsonl.source import JsonlSource, JsonlSourceOptions

ROWS = b'{"query": "Q1", "answer": "A1"}\n{"query":"Q2",  "answer":"A2", "id": 2}\r\n'


def source(folder: Path, path: str | list[str] = "*.jsonl*", **options: object) -> JsonlSource:
    block = {"path": path, **options}
    return JsonlSource(JsonlSourceOptions.model_validate(block, context={"folder": str(folder)}))


def read(folder: Path, content: bytes, name: str = "a.jsonl", **options: object) -> list:
    (folder / name).write_bytes(content)
    return list(source(folder, name, **options).read())


def test_rows_leave_as_they_came(tmp_path) -> None:
    records = read(tmp_path, ROWS)
    assert b"".join(record.row for record in records) == ROWS
    assert [(r.query, r.answer) for r in records] == [("Q1", "A1"), ("Q2", "A2")]
    assert records[1].id == "2"
    assert records[1].fields == {"query": "Q2", "answer": "A2", "id": 2}
    assert [r.origin for r in records] == [Origin("a.jsonl", 0, 1), Origin("a.jsonl", 1, 2)]


def test_blank_lines_are_no_records_but_lines(tmp_path) -> None:
    first, second = ROWS.splitlines(keepends=True)
    records = read(tmp_path, b"\n" + first + b"  \t\r\n" + second.rstrip())
    assert [r.origin for r in records] == [Origin("a.jsonl", 0, 2), Origin("a.jsonl", 1, 4)]
    assert records[1].row == second.rstrip()


def test_byte_order_mark(tmp_path) -> None:
    records = read(tmp_path, b"\xef\xbb\xbf" + ROWS)
    assert [r.query for r in records] == ["Q1", "Q2"]
    assert records[0].row == b"\xef\xbb\xbf" + ROWS.splitlines(keepends=True)[0]
    assert read(tmp_path, b"\xef\xbb\xbf\n") == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"query": "\xff", "answer": ""}', "not UTF-8: byte 0xff at byte 12 of the line"),
        (b'{"query": "Q", "answer": "A"', "not JSON: the line ends before the object does; "),
        (b'{"query": "half a', "not JSON: the line ends before the object does; "),
        (b'{"query": "a\tb", "answer": "A"}', "not JSON: "),
        (b'{"query": "Q", "answer": NaN}', "not JSON: NaN, at character 26; write null or"),
        (b'{"query": "Q", "answer": "A", "x": [-Infinity]}', "not JSON: -Infinity, at char"),
        (b'{"query": "\\ud800", "answer": "A"}', "not JSON: no low surrogate in string, at char"),
        (b'{"query": "\\udc00", "answer": "A"}', "not JSON: invalid high surrogate in string"),
        (b'{"query": "\xed\xa0\x80", "answer": "A"}', "not UTF-8: byte 0xed at byte 12"),
        (b'{"query": "\0", "answer": "A"}', "not JSON: a NUL, at character 12; is"),
        (b"\0" * 100, "not JSON: a NUL, at character 1; "),
        (b"\xff\xfe{\0}\0", "not UTF-8: byte 0xff at byte 1 of the line; write the file anew in"),
        (b"[" * 10_000, "not JSON: lists or objects nested too deeply"),
        (b'{"query":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not JSON: lists or objects nested"),
        (b'["Q", "A"]', "a JSON list, not an object"),
        (b"null", "a JSON null, not an object"),
        (b"NaN", "not JSON: NaN, at character 1; "),
        (b'{"query": "Q"}', "field 'answer' is missing; there are: query"),
        (b'{"query": "Q", "answer": null}', "field 'answer' is null, not text"),
        (b'{"query": 1, "answer": "A"}', "field 'query' is a number, not text"),
        (b'{"query": "Q", "answer": ["A"]}', "field 'answer' is a list, not text"),
        (b'{"query": "Q", "answer": {"a": 1}}', "field 'answer' is an object, not text"),
        (
            b"\xef\xbb\xbf" + b'{"query": "Q", "answer": "A"}',
            "not JSON: a byte order mark that is not at the file's beginning; remove it",
        ),
    ],
)
def test_bad_records(tmp_path, line: bytes, error: str) -> None:
    first, second = ROWS.splitlines(keepends=True)
    found = read(tmp_path, first + line + b"\n" + second)
    assert [type(item) for item in found] == [Record, BadRecord, Record]
    bad = found[1]
    assert bad.error.startswith(error)
    assert (bad.row, bad.origin) == (line + b"\n", Origin("a.jsonl", 1, 2))


def test_odd_rows_that_are_good_records(tmp_path) -> None:
    """Legal JSON stays a record: NUL as an escape, no text at all, brackets a thousand deep."""
    rows = [
        b'{"query": "\\u0000\\u001b[2J", "answer": "\\ud83d\\ude00"}\n',
        b'{"query": "", "answer": ""}\n',
        b'{"query": "Q", "answer": "A", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}\n",
        b'{"query": "Q", "answer": "A", "id": ""}\r\n',
        b'{"query": "Q", "query": "Q2", "answer": "A", "id": "same"}\n',
        b'{"query": "Q", "answer": "A", "id": "same"}',
    ]
    found = read(tmp_path, b"".join(rows))
    assert [record.row for record in found] == rows
    assert (found[0].query, found[0].answer) == ("\0\x1b[2J", "\U0001f600")
    assert [record.id for record in found[4:]] == ["same", "same"]


def test_only_a_newline_ends_a_line(tmp_path) -> None:
    row = json.dumps({"query": "a\u2028b\x85c", "answer": "A"}, ensure_ascii=False).encode()
    assert read(tmp_path, row)[0].query == "a\u2028b\x85c"


def test_a_very_long_line(tmp_path) -> None:
    long = "é" * 6_000_000
    row = orjson.dumps({"query": "Q", "answer": long}) + b"\n"
    for name, data in (("a.jsonl", row), ("a.jsonl.zst", zstandard.compress(row))):
        record = read(tmp_path, data + (ROWS if name == "a.jsonl" else b""), name)[0]
        assert record.answer == long
        assert record.row == row


def padded(size: int) -> bytes:
    """A record whose line is `size` bytes long, its end included."""
    row = b'{"query": "Q", "answer": ""}\n'
    return row.replace(b'""', b'"' + b"x" * (size - len(row)) + b'"')


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_over_the_limit(tmp_path, suffix: str, end: bytes) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    long = padded(5001).rstrip(b"\n")
    data = padded(5000) + long + b"\n" + padded(5001) + padded(4999) + padded(200_000) + long + end
    found = read(tmp_path, pack(data), f"a.jsonl{suffix}", max_record_bytes=5000)
    sizes = [5000, 1000, 1000, 4999, 1000, 1000 if end else 5000]
    assert [len(item.row) for item in found] == sizes
    assert [isinstance(item, BadRecord) for item in found] == [size == 1000 for size in sizes]
    assert [item.origin for item in found] == [
        Origin(f"a.jsonl{suffix}", n, n + 1) for n in range(6)
    ]
    assert found[4].row == padded(200_000)[:1000]
    assert found[4].error == (
        "a line of 200000 bytes, more than input.max_record_bytes = 5000 allows: raise it if this "
        "is a record (here are its first 1000 bytes)"
    )


def test_a_line_is_cut_between_characters(tmp_path) -> None:
    row = orjson.dumps({"query": "", "answer": "漢" * 2000})
    kept = {len(read(tmp_path, b" " * n + row, max_record_bytes=2000)[0].row) for n in range(3)}
    assert kept == {998, 999, 1000}
    (bad,) = read(tmp_path, b"\x80" * 3000, max_record_bytes=2000)  # no characters at all
    assert len(bad.row) <= 1000


@pytest.mark.parametrize("suffix", [".gz", ".zst", ""])
def test_input_that_expands_without_end_takes_little_memory(tmp_path, suffix: str) -> None:
    """A quarter of a gigabyte of zeros: bounded by the limit, whatever the file unpacks to."""
    size, zeros = 1 << 28, bytes(1 << 24)
    path = tmp_path / f"a.jsonl{suffix}"
    with path.open("wb") as file:
        if suffix == ".gz":
            file.write(gzip.compress(zeros) * (size >> 24))
        elif suffix == ".zst":
            with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packer:
                for _ in range(size >> 24):
                    packer.write(zeros)
        else:
            file.truncate(size)
    reader = source(tmp_path, max_record_bytes=1 << 20)
    tracemalloc.start()
    try:
        (bad,) = reader.read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bad.error.startswith(f"a line of {size} bytes, more than")
    assert len(bad.row) == 1000
    assert peak < 8 << 20


def test_several_files_in_order(tmp_path) -> None:
    for name in ("b/2.jsonl", "b/10.jsonl", "a/1.jsonl", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(ROWS)

    def parts(*patterns: str) -> list[str]:
        records = source(tmp_path, list(patterns)).read()
        return list(dict.fromkeys(record.origin.part for record in records))

    assert parts("**/*.jsonl") == ["a/1.jsonl", "b/10.jsonl", "b/2.jsonl"]
    assert parts("b/*.jsonl") == ["10.jsonl", "2.jsonl"]
    assert parts("b/2.jsonl", "**/*.jsonl") == ["b/2.jsonl", "a/1.jsonl", "b/10.jsonl"]
    ordinals = [r.origin.ordinal for r in source(tmp_path, "b/*.jsonl").read()]
    assert ordinals == [0, 1, 0, 1]


def test_a_name_with_brackets(tmp_path) -> None:
    assert len(read(tmp_path, ROWS, "data[1].jsonl")) == 2


def test_no_file_matches(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROWS)
    with pytest.raises(SourceError, match=r"no file matches .*nothing-\*\.jsonl"):
        list(source(tmp_path, ["a.jsonl", "nothing-*.jsonl"]).read())
    with pytest.raises(SourceError, match="a folder"):
        list(source(tmp_path, ".").read())


# --- compressed


def frames(*parts: bytes) -> bytes:
    return b"".join(zstandard.ZstdCompressor().compress(part) for part in parts)


SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"index"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", gzip.compress(ROWS)),
        ("a.jsonl.gz", gzip.compress(ROWS[:20]) + gzip.compress(ROWS[20:])),
        ("a.jsonl.zst", frames(ROWS)),
        ("a.jsonl.zst", frames(ROWS[:20], b"", ROWS[20:])),
        ("a.jsonl.zst", SKIPPABLE + frames(ROWS[:20]) + SKIPPABLE + frames(ROWS[20:]) + SKIPPABLE),
    ],
    # Not the bytes: gzip writes the time into them, and two processes have to find the same tests.
    ids=["gzip", "gzip in two", "zstd", "zstd in frames", "zstd with skippable frames"],
)
def test_compressed(tmp_path, name: str, data: bytes) -> None:
    assert b"".join(record.row for record in read(tmp_path, data, name)) == ROWS


def many(count: int) -> bytes:
    numbers = (str(n * 7919 % 10007) * 20 for n in range(count))
    return b"".join(orjson.dumps({"query": n, "answer": "A"}) + b"\n" for n in numbers)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_compressed_data_cut_short(tmp_path, caplog, suffix: str, share: float) -> None:
    rows = many(20_000)
    whole = gzip.compress(rows) if suffix == ".gz" else frames(rows)
    data = whole[: int(len(whole) * share)]
    (tmp_path / "b.jsonl").write_bytes(ROWS)
    (tmp_path / f"a.jsonl{suffix}").write_bytes(data)
    reader = source(tmp_path)
    *got, bad, first, second = reader.read()
    assert all(isinstance(item, Record) for item in (*got, first, second))  # other files are read
    assert isinstance(bad, BadRecord)
    assert bad.error.startswith(f"the compressed data end too early, after line {len(got)}: ")
    assert bad.origin == Origin(f"a.jsonl{suffix}", len(got), len(got) + 1)
    # All that can be unpacked is there, torn line included: nothing is lost but what is missing.
    readable = b"".join(item.row for item in (*got, bad))
    assert rows.startswith(readable)
    if suffix == ".gz":
        assert readable == zlib.decompressobj(31).decompress(data)
    else:
        assert readable == zstandard.ZstdDecompressor().stream_reader(data).read()
    assert list(reader.read()) == [*got, bad, first, second]
    assert len(caplog.messages) == 1  # said once, though read twice
    assert caplog.messages[0].startswith(f"a.jsonl{suffix}:{len(got) + 1}: the compressed data end")


@pytest.mark.parametrize("cut", [1, 3, 9])
def test_the_last_bytes_of_a_zst_matter(tmp_path, cut: int) -> None:
    first, second, bad = read(tmp_path, frames(ROWS, ROWS)[:-cut], "a.jsonl.zst")
    assert first.row + second.row == ROWS
    assert bad.error.startswith("the compressed data end too early, after line 2")


@pytest.mark.parametrize("cut", range(1, 8))
def test_the_last_bytes_of_a_gz_matter(tmp_path, cut: int) -> None:
    first, second, bad = read(tmp_path, gzip.compress(ROWS)[:-cut], "a.jsonl.gz")
    assert first.row + second.row == ROWS
    assert bad.error.startswith("the compressed data end too early, after line 2")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_not_compressed_at_all(tmp_path, name: str) -> None:
    (bad,) = read(tmp_path, ROWS, name)
    assert bad.error.startswith("the compressed data are damaged (")
    assert "after line 0" in bad.error


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_wrong_checksum(tmp_path, name: str) -> None:
    packer = zstandard.ZstdCompressor(write_checksum=True)
    whole = gzip.compress(ROWS) if name.endswith("gz") else packer.compress(ROWS)
    at = -8 if name.endswith("gz") else -1
    wrong = bytearray(whole)
    wrong[at] ^= 0xFF
    *_, bad = read(tmp_path, bytes(wrong), name)
    assert bad.error.startswith("the compressed data are damaged (")


def test_zeros_behind_a_gz_are_padding(tmp_path) -> None:
    found = read(tmp_path, gzip.compress(ROWS) + b"\0" * 200_000 + gzip.compress(ROWS), "a.gz")
    assert b"".join(record.row for record in found) == ROWS + ROWS


def test_a_large_zst_window(tmp_path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=parameters)
    buffer = io.BytesIO()
    with packer.stream_writer(buffer, closefd=False) as writer:  # size unknown: window as asked
        writer.write(ROWS)
    assert len(read(tmp_path, buffer.getvalue(), "a.jsonl.zst")) == 2


def test_empty_files_hold_nothing(tmp_path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        assert read(tmp_path, b"", name) == []


# --- layouts


def test_auto_says_what_it_found(tmp_path, caplog) -> None:
    row = b'{"instruction": "I", "input": "x", "output": "O"}\n'
    with caplog.at_level(logging.INFO, logger="qaqfilter"):
        found = read(tmp_path, b"broken\n" + row)
    assert isinstance(found[0], BadRecord)
    assert (found[1].query, found[1].answer) == ("I\nx", "O")
    assert caplog.messages == [
        "a.jsonl, line 2: layout alpaca (name another with input.layout or input.fields)"
    ]


def test_auto_looks_past_rows_that_lack_a_field(tmp_path) -> None:
    found = read(tmp_path, b'{"query": "only"}\n' + ROWS)
    assert [type(item) for item in found] == [BadRecord, Record, Record]


def test_auto_is_decided_once(tmp_path) -> None:
    found = read(tmp_path, ROWS + b'{"instruction": "I", "output": "O"}\n')
    assert found[2].error.startswith("field 'query' is missing")


def test_auto_finds_nothing(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"a\.jsonl, line 1: .*Its fields: prompt\. Name them"):
        read(tmp_path, b'{"prompt": "Q"}\n' * 1000)
    with pytest.raises(SourceError, match="Name them"):
        read(tmp_path, b'{"prompt": "Q"}\n')


def test_auto_without_any_object_is_bad_records(tmp_path) -> None:
    found = read(tmp_path, b"x\n[1]\n")
    assert [item.error[:8] for item in found] == ["not JSON", "a JSON l"]


def test_fields_by_name(tmp_path) -> None:
    row = b'{"a": {"q": "Q"}, "b": "A"}\n'
    found = read(tmp_path, row, fields={"query": "a.q", "answer": "b"})
    assert (found[0].query, found[0].answer) == ("Q", "A")


@pytest.mark.parametrize(
    "options",
    [{"layout": "alpaca", "fields": {"query": "q", "answer": "a"}}, {"layout": "x"}, {"path": []}],
)
def test_options_refused(options) -> None:
    with pytest.raises(ValidationError):
        JsonlSourceOptions(**{"path": "x", **options})


def test_two_reads_are_the_same(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROWS + b"bad\n")
    twice = source(tmp_path)
    assert list(twice.read()) == list(twice.read())


# --- the sink

WHY = Rejection("qaq", "below min", 0.25, 0.5)


def record(row: bytes, label: str = "r", ordinal: int = 3) -> Record:
    return Record(label, "Q", "A", row, Origin("a.jsonl", ordinal, 4))


def unpack(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(data).read()
    return data


def sink(folder: Path, compression: str = "none") -> JsonlSink:
    return JsonlSink(JsonlSinkOptions(compression=compression), folder)


@pytest.mark.parametrize(("kind", "suffix"), [("none", ""), ("gzip", ".gz"), ("zstd", ".zst")])
def test_kept_rows_are_untouched(tmp_path, kind: str, suffix: str) -> None:
    rows = [b'{"a":1.0}\r\n', b'{"b" :2}', b'{"c":"\xc3\xa9"}\n', b"\xef\xbb\xbf{}\n", b'{"d":4}']
    out = sink(tmp_path, kind)
    for row in rows:
        out.keep(record(row))
    out.close()
    assert [path.name for path in tmp_path.iterdir()] == [f"kept.jsonl{suffix}"]
    kept = unpack(tmp_path / f"kept.jsonl{suffix}")
    assert kept == rows[0] + rows[1] + b"\n" + rows[2] + rows[3] + rows[4]


@pytest.mark.parametrize(("kind", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_compressed_output_is_whole_and_the_same_each_time(tmp_path, kind, suffix) -> None:
    rows = many(3000).splitlines(keepends=True)
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        out = sink(tmp_path / name, kind)
        for row in rows:
            out.keep(record(row))
            out.reject(record(row), WHY)
        out.close()
        files.append((tmp_path / name / f"kept.jsonl{suffix}").read_bytes())
    assert files[0] == files[1]
    assert unpack(tmp_path / f"one/kept.jsonl{suffix}") == b"".join(rows)
    again = list(source(tmp_path / "one", f"kept.jsonl{suffix}").read())
    assert [r.row for r in again] == rows
    assert unpack(tmp_path / f"one/rejected.jsonl{suffix}").count(b"\n") == 3000


def rejected(folder: Path, row: bytes, why: Rejection = WHY) -> bytes:
    out = sink(folder)
    out.reject(record(row), why)
    out.close()
    return (folder / "rejected.jsonl").read_bytes()


def test_rejected_rows_say_why_and_hold_their_original(tmp_path) -> None:
    row = b'\xef\xbb\xbf{"n": 1.50, "big": 123456789012345678901234567890, "u": "\\u00e9"}\r\n'
    line = rejected(tmp_path, row)
    assert line == (
        b'{"id":"r","step":"qaq","reason":"below min","value":0.25,"bound":0.5,"part":"a.jsonl",'
        b'"ordinal":3,"record":{"n": 1.50, "big": 123456789012345678901234567890, '
        b'"u": "\\u00e9"}}\n'
    )


def test_rejected_without_numbers(tmp_path) -> None:
    line = json.loads(rejected(tmp_path, b"{}", Rejection("s", "too_long", None, float("nan"))))
    assert (line["value"], line["bound"]) == (None, None)


def test_rejected_rows_that_are_no_json_are_strings(tmp_path) -> None:
    assert json.loads(rejected(tmp_path, b"plain \xff text\n"))["record"] == "plain \ufffd text\n"


def test_rejected_rows_of_many_lines_become_one(tmp_path) -> None:
    line = rejected(tmp_path, b'{\n  "a": "x\\ny"\n}\n')
    assert line.count(b"\n") == 1
    assert json.loads(line)["record"] == {"a": "x\ny"}


def test_closing_without_a_record_leaves_an_empty_file(tmp_path) -> None:
    sink(tmp_path).close()
    assert (tmp_path / "kept.jsonl").read_bytes() == b""
