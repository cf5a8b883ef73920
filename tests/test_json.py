"""JSON arrays in and out: untouched elements, honest bad records, little memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qaqfilter import BadRecord, Origin, Record, Rejection, SourceError, compressed
from qaqfilter.input_files import InputFile, InputFiles
from qaqfilter_jsonl import array, files
from qaqfilter_jsonl.array import elements
from qaqfilter_jsonl.sink import JsonlSink, JsonlSinkOptions, JsonSink, JsonSinkOptions
from qaqfilter_jsonl.source import JsonlSource, JsonlSourceOptions, JsonSource, JsonSourceOptions

FIRST = b'{"query": "Q1", "answer": "A1"}'
SECOND = b'{\n    "query":"Q]}2",\r\n\t"answer" : "A\\"2\\\\",  "n": 1.50\n  }'
ROWS = b"[\n  " + FIRST + b",\n  " + SECOND + b"\n]\n"


def only(path) -> InputFile:
    """The file as a source gets it."""
    (file,) = InputFiles(str(path)).find()
    return file


def read(folder: Path, content: bytes, name: str = "a.json", **options: object) -> list:
    (folder / name).write_bytes(content)
    block = {"path": name, **options}
    config = JsonSourceOptions.model_validate(block, context={"folder": str(folder)})
    return list(JsonSource(config).read())


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_elements_are_records_with_their_own_bytes(tmp_path, suffix: str) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    name = f"a.json{suffix}"
    found = read(tmp_path, pack(ROWS), name)
    assert [record.row for record in found] == [FIRST, SECOND]
    assert [record.query for record in found] == ["Q1", "Q]}2"]
    assert found[1].answer == 'A"2\\'
    assert [record.origin for record in found] == [Origin(name, 0, 2), Origin(name, 1, 3)]


@pytest.mark.parametrize("content", [b"[]", b" \n[ \n]\n ", b"\xef\xbb\xbf[]"])
def test_an_empty_array_holds_nothing(tmp_path, content: bytes) -> None:
    assert read(tmp_path, content) == []


def test_byte_order_mark(tmp_path) -> None:
    assert [r.row for r in read(tmp_path, b"\xef\xbb\xbf" + ROWS)] == [FIRST, SECOND]
    odd = read(tmp_path, b"[" + FIRST + b",\xef\xbb\xbf" + FIRST + b"]")
    assert odd[1].error.startswith("not JSON: a byte order mark that is not at the file's")


def test_several_files(tmp_path) -> None:
    (tmp_path / "b.json").write_bytes(b"[" + FIRST + b"]")
    found = read(tmp_path, ROWS, "a.json", path=["b.json", "a.json"])
    assert [str(record.origin) for record in found] == ["b.json:1", "a.json:2", "a.json:3"]


@pytest.mark.parametrize(
    ("element", "error"),
    [
        (b"1", "a JSON number, not an object"),
        (b"null", "a JSON null, not an object"),
        (b'"a, ]b"', "a JSON string, not an object"),
        (b"[[1, 2], []]", "a JSON list, not an object"),
        (b'{"query": NaN}', "not JSON: NaN, at character 11; write null or a number"),
        (b'{"query": "\xff"}', "not UTF-8: byte 0xff at byte 12 of the element; write"),
        (b'{"query" "x"}', "not JSON: "),
        (b"nonsense", "not JSON: "),
        (b"}", "not JSON: "),
        (b"[" * 3000 + b"]" * 3000, "not JSON: lists or objects nested too deeply"),
        (b'{"query": "Q"}', "field 'answer' is missing; there are: query"),
    ],
)
def test_bad_elements(tmp_path, element: bytes, error: str) -> None:
    found = read(tmp_path, b"[" + FIRST + b",\n" + element + b",\n" + FIRST + b"]")
    assert [type(item) for item in found] == [Record, BadRecord, Record]
    assert found[1].error.startswith(error)
    assert (found[1].row, found[1].origin) == (element, Origin("a.json", 1, 2))


COMMA = "a comma without an element "
ENDS = "the file ends before its array does, in line 2: what stood behind it is missing"


@pytest.mark.parametrize(
    ("content", "bad", "good"),
    [
        (b"[" + FIRST + b",\n]", [(b",", f"{COMMA}behind it")], 1),
        (b"[,\n]", [(b",", f"{COMMA}before it")], 0),
        (b"[" + FIRST + b",\n,," + FIRST + b"]", [(b",", f"{COMMA}before it")] * 2, 2),
        (b"[" + FIRST + b"\n" + FIRST + b"]", [(b"", "there is no comma between")], 2),
        (b"[" + FIRST + b",\n", [(b"", ENDS)], 1),
        (b"[" + FIRST + b"\n", [(b"", ENDS)], 1),
        (b"[\n", [(b"", ENDS)], 0),
        (b"[" + FIRST + b"\n, 12", [(b"12", ENDS)], 1),
        (b"[\n" + FIRST[:-9], [(FIRST[:-9], ENDS)], 0),
        (b'[\n{"query": "a\\', [(b'{"query": "a\\', ENDS)], 0),
        (b"[" + FIRST + b"]\n" + FIRST, [(FIRST, "the array ends before this, and the")], 1),
        (b"[" + FIRST + b"\n]]", [(b"]", "the array ends before this, and the file does")], 1),
    ],
)
def test_damaged_arrays(tmp_path, content: bytes, bad: list, good: int) -> None:
    found = read(tmp_path, content)
    told = [item for item in found if isinstance(item, BadRecord)]
    assert [item.row for item in told] == [row for row, _ in bad]
    for item, (_, why) in zip(told, bad, strict=True):
        assert item.error.startswith(why)
    assert [item.row for item in found if isinstance(item, Record)] == [FIRST] * good
    assert [item.origin.ordinal for item in found] == list(range(len(found)))


def test_a_brace_too_few_loses_the_rest_and_says_so(tmp_path, caplog) -> None:
    found = read(tmp_path, b"[" + FIRST + b', {"a": [1},\n' + FIRST + b"]")
    assert [type(item) for item in found] == [Record, BadRecord, BadRecord]
    assert found[2].error.startswith(ENDS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (ROWS[4:], "it begins with `{`; JSON lines are read with `use: jsonl`"),
        (b"\xff\xfe[\0]\0", "it begins with byte 0xff"),
        (b"true", "it begins with `t`"),
    ],
)
def test_a_file_without_an_array(tmp_path, content: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=r"a\.json holds no JSON array: ") as caught:
        read(tmp_path, content)
    assert str(caught.value).endswith(why)


def test_an_array_read_as_lines_says_how_to_read_it(tmp_path) -> None:
    for content in (ROWS, b"[" + FIRST + b"]"):
        (tmp_path / "a.json").write_bytes(content)
        block = {"path": "a.json"}
        config = JsonlSourceOptions.model_validate(block, context={"folder": str(tmp_path)})
        bad = next(iter(JsonlSource(config).read()))
        assert bad.error.endswith("; a file that is one JSON array is read with `use: json`")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_compression(tmp_path, suffix: str) -> None:
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    packed = pack(b"[" + b",\n".join([FIRST] * 50_000) + b"]")
    found = read(tmp_path, packed[: len(packed) // 2], f"a.json{suffix}")
    assert 1000 < len(found) < 50_000
    assert {type(item) for item in found[:-1]} == {Record}
    assert found[-1].error.startswith("the compressed data end too early, in line ")


def padded(size: int) -> bytes:
    return FIRST.replace(b"A1", b"x" * (size - len(FIRST) + 2))


@pytest.mark.parametrize("most", [100, 5000])
def test_an_element_over_the_limit(tmp_path, most: int) -> None:
    sizes = [most, most + 1, most - 1, 200_000, most]
    content = b"[" + b",\n".join(map(padded, sizes)) + b"]"
    found = read(tmp_path, content, max_record_bytes=most)
    assert [isinstance(item, BadRecord) for item in found] == [size > most for size in sizes]
    assert [item.origin.line for item in found] == [1, 2, 3, 4, 5]
    assert found[3].row == padded(200_000)[:1000]
    assert found[3].error == (
        f"an element of 200000 bytes, more than input.max_record_bytes = {most} allows: raise it "
        "if this is a record (here are its first 1000 bytes)"
    )


@pytest.mark.parametrize("piece", [b" ", b"[", b'"aaaaaaaaaaaaaaa', b"\\", b"{},", b"x"])
def test_a_file_without_end_takes_little_memory(tmp_path, piece: bytes) -> None:
    """4 MiB of an element through a limit of 64 KiB."""
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a": "' + piece * ((1 << 22) // len(piece)))
    tracemalloc.start()
    try:
        found = list(elements(only(path), 1 << 16))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(row) for _, row, _ in found] == [1000]
    assert found[0][2] is not None
    assert found[0][2].lost
    assert peak < 1 << 20


SPACE = st.text(" \n\r\t", max_size=3).map(str.encode)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
WRITTEN = st.tuples(VALUES, st.sampled_from([None, 0, 1]), st.booleans()).map(
    lambda how: json.dumps(how[0], indent=how[1], ensure_ascii=how[2]).encode()
)


@settings(derandomize=True, database=None, max_examples=300, deadline=None)
@given(st.lists(st.tuples(SPACE, WRITTEN, SPACE), max_size=6), st.integers(2, 40))
@example([(b"", b'"\\\\"', b""), (b"", b'"\\""', b"")], 2)
def test_any_array_cut_into_any_pieces(tmp_path_factory, parts, size: int) -> None:
    """Every element with its bytes, wherever the reader's pieces end."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(b"[" + b",".join(before + e + after for before, e, after in parts) + b"]")
    with pytest.MonkeyPatch.context() as patch:
        for module in (array, files, compressed):
            patch.setattr(module, "PIECE", size)
        found = list(elements(only(path), 1 << 20))
    assert [row for _, row, _ in found] == [element for _, element, _ in parts]
    assert {trouble for _, _, trouble in found} <= {None}


@settings(derandomize=True, database=None, max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b'"', b",", b"\\", b"1", b" ", b"\n"])))
def test_any_bytes_are_elements_or_trouble(tmp_path_factory, pieces: list[bytes]) -> None:
    """Nothing is made up: what comes out stood in the file, in this order; JSON comes whole."""
    content = b"[" + b"".join(pieces)
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(content)
    found = list(elements(only(path), 1 << 20))
    place = 0
    for _, row, _ in found:
        place = content.index(row, place) + len(row)
    try:
        values = orjson.loads(content)
    except orjson.JSONDecodeError:
        return
    assert [orjson.loads(row) for _, row, _ in found] == values


# --- the sinks

WHY = Rejection("qaq", "min", 0.25, 0.5)


def write(folder: Path, sink: type, options: object, *rows: bytes) -> dict[str, bytes]:
    out = sink(options, folder)
    for ordinal, row in enumerate(rows):
        record = Record("r", "Q", "A", row, Origin("a.json", ordinal, 4))
        out.keep(record)
        out.reject(record, WHY)
    out.close()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_array_holds_the_rows_as_they_are(tmp_path) -> None:
    line = b'\xef\xbb\xbf{"big": 123456789012345678901234567890}\r\n'
    written = write(tmp_path, JsonSink, JsonSinkOptions(), FIRST, SECOND, line)
    assert set(written) == {"kept.json", "rejected.json"}
    assert written["kept.json"] == (
        b"[\n" + FIRST + b",\n" + SECOND + b",\n" + line[3:].strip() + b"\n]\n"
    )
    rejected = json.loads(written["rejected.json"])
    assert [r["record"] for r in rejected] == json.loads(written["kept.json"])
    assert (rejected[1]["step"], rejected[1]["ordinal"]) == ("qaq", 1)
    (tmp_path / "again").mkdir()
    again = read(tmp_path / "again", written["kept.json"], layout="query_answer")
    assert [item.row for item in again] == [FIRST, SECOND, line[3:].strip()]


def test_an_array_of_nothing(tmp_path) -> None:
    assert write(tmp_path, JsonSink, JsonSinkOptions()) == {"kept.json": b"[]\n"}


def test_a_packed_array(tmp_path) -> None:
    written = write(tmp_path, JsonSink, JsonSinkOptions(compression="gzip"), FIRST)
    assert gzip.decompress(written["kept.json.gz"]) == b"[\n" + FIRST + b"\n]\n"


def test_lines_of_elements(tmp_path) -> None:
    """An element that is no line becomes one; its numbers, keys and texts stay as written."""
    written = write(tmp_path, JsonlSink, JsonlSinkOptions(), SECOND, FIRST, SECOND + b"\r\n")
    one = b'{ "query":"Q]}2", "answer" : "A\\"2\\\\",  "n": 1.50 }'
    assert written["kept.jsonl"] == one + b"\n" + FIRST + b"\n" + one + b"\n"
    assert written["rejected.jsonl"].count(b"\n") == 3
