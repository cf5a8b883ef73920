"""Kept records in several files, by rows or by bytes, compressed or not."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import zstandard
from pydantic import BaseModel, ValidationError

import qaqfilter
from qaqfilter.output_files import ByteCount

FORMATS = ("jsonl", "json", "csv", "parquet")
ROWS = [{"query": f"query {n}", "answer": f"answer {n} " * (1 + n % 7)} for n in range(60)]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "version: 1\nname: shards\ninput: {use: jsonl, path: data.jsonl}\n"
        "steps: [{id: size, use: length, of: answer, keep: {min: 12}}]\n"
        "output: {use: jsonl, path: out}\n"
    )

    def run(use: str, *changes: str) -> Path:
        overrides = [f"output.use={use}", *(f"output.{change}" for change in changes)]
        return qaqfilter.run(recipe, overrides=overrides, replace=True).folder

    return run


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return (
        zstandard.ZstdDecompressor().decompressobj().decompress(data)
        if path.suffix == ".zst"
        else data
    )


def read(path: Path, use: str) -> list[dict]:
    match use:
        case "jsonl":
            return [json.loads(line) for line in unpacked(path).splitlines()]
        case "json":
            return json.loads(unpacked(path))
        case "csv":
            return list(csv.DictReader(io.StringIO(unpacked(path).decode(), newline="")))
    return pq.read_table(path).to_pylist()


def shards(out: Path) -> list[Path]:
    return sorted(out.glob("kept*"))


def wanted() -> list[dict]:
    return [row for row in ROWS if len(row["answer"]) >= 12]


@pytest.mark.parametrize("use", FORMATS)
def test_shards_of_so_many_rows(run, use):
    out = run(use, "shard_rows=25")
    found = [read(path, use) for path in shards(out)]
    assert [path.name for path in shards(out)] == [f"kept-0000{n}.{use}" for n in range(len(found))]
    assert [len(rows) for rows in found[:-1]] == [25] * (len(found) - 1)
    assert [row for rows in found for row in rows] == wanted()
    assert (out / f"rejected.{use}").exists()


@pytest.mark.parametrize("use", FORMATS)
@pytest.mark.parametrize("most", [1, 200, 1000])
def test_shards_of_so_many_bytes(run, use, most):
    out = run(use, f"shard_bytes={most}")
    found = [read(path, use) for path in shards(out)]
    assert [row for rows in found for row in rows] == wanted()
    assert len(found) > 1
    for path, rows in zip(shards(out), found, strict=True):
        size = pq.read_table(path).nbytes if use == "parquet" else path.stat().st_size
        assert size <= most or len(rows) == 1
    if use != "parquet":  # no shard ends early: the next record would not have fitted
        for path, after in zip(shards(out), shards(out)[1:], strict=False):
            rows = unpacked(after).splitlines(keepends=True)
            first = rows[1] if use in ("csv", "json") else rows[0]
            assert path.stat().st_size + len(first) + 5 > most


def test_whichever_limit_comes_first(run):
    out = run("jsonl", "shard_rows=3", "shard_bytes=240")
    sizes = [(len(read(path, "jsonl")), path.stat().st_size) for path in shards(out)]
    assert max(rows for rows, _ in sizes) == 3
    assert min(rows for rows, _ in sizes) < 3
    assert all(size <= 240 for _, size in sizes)


@pytest.mark.parametrize("use", ["jsonl", "json", "csv"])
@pytest.mark.parametrize(("compression", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_compressed_shards_are_counted_before_compression(run, use, compression, suffix):
    plain = [path.read_bytes() for path in shards(run(use, "shard_bytes=1kB"))]
    packed = shards(run(use, "shard_bytes=1kB", f"compression={compression}"))
    assert [path.name for path in packed] == [
        f"kept-0000{n}.{use}{suffix}" for n in range(len(plain))
    ]
    assert [unpacked(path) for path in packed] == plain


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_csv_is_compressed(run, compression, suffix):
    plain = run("csv")
    before = {name: (plain / f"{name}.csv").read_bytes() for name in ("kept", "rejected")}
    out = run("csv", f"compression={compression}")
    assert not (out / "kept.csv").exists()
    assert {name: unpacked(out / f"{name}.csv{suffix}") for name in before} == before


@pytest.mark.parametrize("use", FORMATS)
def test_without_a_kept_record_there_is_one_file(run, tmp_path, use):
    (tmp_path / "data.jsonl").write_text('{"query": "q", "answer": "a"}\n')
    out = run(use, "shard_rows=2")
    assert [path.name for path in shards(out)] == [f"kept-00000.{use}"]
    assert read(out / f"kept-00000.{use}", use) == []


@pytest.mark.parametrize("use", FORMATS)
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_shards_load_as_a_data_set(run, tmp_path, monkeypatch, use, compression):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    out = run(use, "shard_rows=20", f"compression={compression}")
    front = (out / "README.md").read_text().split("---")[1]
    suffix = {"none": "", "gzip": ".gz", "zstd": ".zst"}[compression] * (use != "parquet")
    assert f"path: kept-*.{use}{suffix}\n" in front
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=cache)
    assert list(loaded) == wanted()
    rejected = datasets.load_dataset(str(out), "rejected", split="train", cache_dir=cache)
    assert len(rejected) == len(ROWS) - len(wanted())


class Holder(BaseModel):
    size: ByteCount


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (1, 1),
        ("500", 500),
        ("500B", 500),
        ("500MB", 500_000_000),
        ("1.5 kB", 1500),
        ("2GiB", 2 << 30),
        ("2gib", 2 << 30),
        ("1k", 1000),
        ("1Ti", 1 << 40),
    ],
)
def test_sizes_are_numbers_or_text(given, size):
    assert Holder(size=given).size == size


@pytest.mark.parametrize(
    "given", [0, -1, "0", "0.1B", "", "MB", "5 parsecs", "1e9", True, 2.5, None]
)
def test_what_is_no_size_is_refused(given):
    with pytest.raises(ValidationError, match="a size is"):
        Holder(size=given)


def test_a_size_is_refused_with_its_place(run):
    with pytest.raises(qaqfilter.RecipeError, match=r"output\.shard_bytes: a size is a number of"):
        run("jsonl", "shard_bytes=many")
