"""Input that is elsewhere: a bucket of a real server, standard input."""

from __future__ import annotations

import io
import sys

import fsspec
import pytest

from qaqfilter import SourceError
from qaqfilter.addresses import without_credentials
from qaqfilter.input_files import InputFiles
from qaqfilter_jsonl.source import JsonlSource, JsonlSourceOptions

ROWS = b'{"query": "Q1", "answer": "A1"}\n{"query": "Q2", "answer": "A2"}\n'


def source(path) -> JsonlSource:
    return JsonlSource(JsonlSourceOptions.model_validate({"path": path}))


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_files_at_an_address(memory) -> None:
    for name in ("b/two.jsonl", "a/one.jsonl"):
        memory.pipe_file(f"/data/{name}", ROWS)
    records = list(source("memory://data/**/*.jsonl").read())
    assert b"".join(record.row for record in records) == ROWS * 2
    assert [r.origin.part for r in records][::2] == ["a/one.jsonl", "b/two.jsonl"]
    with pytest.raises(SourceError, match=r"no file matches memory://data/none"):
        list(source("memory://data/none.jsonl").read())


def test_standard_input_is_read_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ROWS)))
    one = source("-")
    one.spool(tmp_path)
    assert [r.origin.part for r in (*one.read(), *one.read())] == ["stdin"] * 4
    other = source("-")
    other.use_spool(tmp_path)
    assert b"".join(r.row for r in other.read()) == ROWS
    (tmp_path / "spool-0.zst").unlink()
    with pytest.raises(SourceError, match="is gone"):
        source("-").use_spool(tmp_path)


def test_standard_input_is_read_alone(tmp_path) -> None:
    with pytest.raises(SourceError, match="read alone"):
        InputFiles(["-", "x"]).spool(tmp_path)


def test_credentials_are_not_shown() -> None:
    assert without_credentials("https://u:p@h/d.jsonl?sig=1") == "https://h/d.jsonl"
    options = JsonlSourceOptions.model_validate({"path": "https://u:p@h/d.jsonl?sig=1"})
    assert options.path == "https://u:p@h/d.jsonl?sig=1"
    assert options.model_dump(mode="json")["path"] == "https://h/d.jsonl"
