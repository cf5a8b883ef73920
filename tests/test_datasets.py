"""Hugging Face data sets: what is read, what is written, and that nothing of a row changes."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import datasets
import huggingface_hub.utils
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, LargeList, List, Value
from datasets.utils import are_progress_bars_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qaqfilter
from qaqfilter import RecipeError, RunDirectoryError, SourceError
from qaqfilter.cli import run_cli
from qaqfilter.types import BadRecord, Rejection
from qaqfilter_datasets.sink import DatasetsSink, DatasetsSinkOptions
from qaqfilter_datasets.source import DatasetsSource, DatasetsSourceOptions

COMMAND = [sys.executable, "-m", "qaqfilter"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Nothing of the user's cache is read or written, and nobody is asked on the network."""
    cache = tmp_path_factory.mktemp("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return cache


NO_PICTURE = b"\x89PNG\r\n\x1a\nand then nothing: whoever decodes it fails"


RICH = Features(
    {
        "query": Value("string"),
        "answer": Value("large_string"),
        "label": ClassLabel(names=["no", "yes"]),
        "picture": Image(),
        "pictures": List(Image()),
        "tags": List(Value("string")),
        "many": LargeList(Value("int16")),
        "three": List(Value("float32"), length=3),
        "meta": {"score": Value("float16"), "when": Value("timestamp[us]"), "raw": Value("binary")},
        "turns": List({"role": Value("string"), "n": Value("uint8")}),
        "nothing": Value("null"),
    }
)


def rich(number: int) -> dict:
    return {
        "query": f"question {number} ß",
        "answer": f"answer {number}\n" * (number + 1),
        "label": number % 2 if number != 3 else None,
        "picture": {"bytes": NO_PICTURE, "path": f"{number}.png"} if number % 3 else None,
        "pictures": [{"bytes": NO_PICTURE, "path": None}] * (number % 3),
        "tags": ["a", None, "b"][: number % 4],
        "many": list(range(number)),
        "three": [0.5, number, -1.0],
        "meta": {"score": 0.25 * number, "when": None, "raw": bytes([number, 255])},
        "turns": [{"role": "x", "n": number}],
        "nothing": None,
    }


def rich_set(count: int = 9) -> Dataset:
    rows = [rich(n) for n in range(count)]
    return Dataset(pa.Table.from_pylist(rows, RICH.arrow_schema))


def pairs_set(count: int = 6, **columns: list) -> Dataset:
    rows = {
        "query": [f"q{n}" for n in range(count)],
        "answer": ["a" * (n + 1) for n in range(count)],
    }
    return Dataset.from_dict({**rows, **columns})


def source(folder: Path, **options) -> DatasetsSource:
    config = DatasetsSourceOptions.model_validate(
        {"path": str(folder), **options}, context={"folder": folder.parent}
    )
    return DatasetsSource(config)


def undecoded(data: Dataset) -> list[dict]:
    return data.with_format("arrow")[:].to_pylist()


def write_recipe(folder: Path, given: str, keep: str, output: str = "datasets") -> Path:
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"version: 1\nname: sets\ninput: {{use: datasets, {given}}}\n"
        f"steps: [{{id: size, use: length, of: answer, keep: {keep}}}]\n"
        f"output: {{use: {output}, path: out}}\n"
    )
    return recipe


# --- what is read -----------------------------------------------------------------------


def test_a_saved_data_set(tmp_path):
    data = pairs_set()
    data.save_to_disk(tmp_path / "data")
    before = sorted((tmp_path / "data").iterdir())
    found = list(source(tmp_path / "data", batch_rows=4).read())
    assert [(r.query, r.answer) for r in found] == [(r["query"], r["answer"]) for r in data]
    assert [(r.origin.part, r.origin.ordinal) for r in found] == [("train", n) for n in range(6)]
    assert [json.loads(r.row) for r in found] == data.to_list()
    assert sorted((tmp_path / "data").iterdir()) == before


def test_splits_of_a_saved_one(tmp_path):
    folder = tmp_path / "data"
    DatasetDict(train=pairs_set(10), test=pairs_set(4)).save_to_disk(folder)

    def read(split=None):
        options = {} if split is None else {"split": split}
        return [str(r.origin) + " " + r.query for r in source(folder, **options).read()]

    assert len(read()) == 10
    assert read("test") == [f"test#{n} q{n}" for n in range(4)]
    assert read("train[:20%]") == [f"train[:20%]#{n} q{n}" for n in range(2)]
    assert read("train[-2:]+test[1:2]") == [
        "train[-2:]#0 q8",
        "train[-2:]#1 q9",
        "test[1:2]#0 q1",
    ]
    assert len(read("train+test")) == len(read("all")) == 14
    assert read("test[0:0]") == []


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ("dev", r"no split is called 'dev'; there are: one, two"),
        (None, r"name a split with `split`; there are: one, two"),
        ("one[5%", r"is no slice of a split of 6 rows"),
        ("one[:a]", r"is no slice"),
        ("one[:200%]", r"is no slice"),
        ("one+one", r"names a part twice"),
        ("", r"no split is called ''"),
    ],
)
def test_a_split_that_is_not_there(tmp_path, split, told):
    DatasetDict(one=pairs_set(), two=pairs_set()).save_to_disk(tmp_path / "data")
    with pytest.raises(SourceError, match=told):
        list(source(tmp_path / "data", split=split).read())


def test_splits_of_other_columns_are_not_mixed(tmp_path):
    DatasetDict(a=pairs_set(), b=pairs_set(n=list(range(6)))).save_to_disk(tmp_path / "data")
    with pytest.raises(SourceError, match="b has other columns or features than a"):
        list(source(tmp_path / "data", split="a+b").read())


def test_rows_that_were_shuffled_and_selected(tmp_path):
    data = rich_set().shuffle(seed=5).select([7, 0, 3, 3])
    assert data._indices is not None
    data.save_to_disk(tmp_path / "data")
    found = list(source(tmp_path / "data").read())
    assert [r.query for r in found] == data["query"]


def test_a_saved_format_hides_no_column(tmp_path):
    data = pairs_set(n=list(range(6)))
    data.set_format("numpy", columns=["n"])
    data.save_to_disk(tmp_path / "data")
    assert [r.query for r in source(tmp_path / "data").read()] == [f"q{n}" for n in range(6)]


# The library itself does not close the CSV files that it streams.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("form", ["jsonl", "parquet", "csv", "arrow"])
def test_a_folder_of_data_files(tmp_path, own_cache, form, streaming):
    folder = tmp_path / "data"
    folder.mkdir()
    parts = [pairs_set().select([0, 1, 2]), pairs_set().select([3, 4, 5])]
    for number, part in enumerate(parts):
        path = folder / f"train-{number}.{form}"
        match form:
            case "jsonl":
                path.write_text("".join(json.dumps(row) + "\n" for row in part))
            case "parquet":
                part.to_parquet(path)
            case "csv":
                part.to_csv(path)
            case "arrow":
                with pa.ipc.new_stream(path, part.features.arrow_schema) as writer:
                    writer.write_table(part.with_format("arrow")[:])
    before = sorted(folder.iterdir())
    it = source(folder, streaming=streaming, batch_rows=2)
    first, second = list(it.read()), list(it.read())
    assert first == second
    assert [r.query for r in first] == [f"q{n}" for n in range(6)]
    assert [r.origin.ordinal for r in first] == list(range(6))
    assert sorted(folder.iterdir()) == before
    # A stream copies nothing; else there is one copy, and no other beside the data.
    assert bool(list(own_cache.rglob("*.arrow"))) is (not streaming)
    gc.collect()


def test_configurations_of_a_local_repository(tmp_path):
    folder = tmp_path / "data"
    for name in ("easy", "hard"):
        (folder / name).mkdir(parents=True)
        pairs_set(n=[len(name)] * 6).to_parquet(folder / name / "test.parquet")
    configs = [
        f"- config_name: {name}\n  data_files:\n  - {{split: test, path: {name}/test.parquet}}\n"
        for name in ("easy", "hard")
    ]
    (folder / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    assert {r.origin.part for r in source(folder, config="hard").read()} == {"test"}
    with pytest.raises(SourceError, match=r"choose one of its configurations.*easy"):
        list(source(folder).read())
    with pytest.raises(SourceError, match=r"choose one of its configurations.*hard"):
        list(source(folder, config="other").read())


def test_a_stream_of_unknown_types(tmp_path):
    """A stream of JSON lines does not know its features before it is read."""
    (tmp_path / "data").mkdir()
    lines = [{"query": f"q{n}", "answer": "a", "n": n, "none": None} for n in range(5)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "data" / "x.jsonl").write_text(text)
    found = list(source(tmp_path / "data", streaming=True, batch_rows=2).read())
    assert [json.loads(r.row) for r in found] == lines


def test_a_stream_whose_types_change(tmp_path):
    (tmp_path / "data").mkdir()
    for name, value in (("a", 1), ("b", "text")):
        line = json.dumps({"query": "q", "answer": "a", "n": value})
        (tmp_path / "data" / f"{name}.jsonl").write_text(line + "\n")
    with pytest.raises(SourceError, match=r"train.* after"):
        list(source(tmp_path / "data", streaming=True).read())
    with pytest.raises(SourceError, match="do not fit together"):
        list(source(tmp_path / "data").read())


def test_pictures_in_a_folder_stay_paths(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.png").write_bytes(NO_PICTURE)
    rows = [{"file_name": f"{n}.png", "query": f"q{n}", "answer": "a"} for n in range(3)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(source(folder, streaming=True).read())
    assert sorted(r.query for r in found) == ["q0", "q1", "q2"]
    for record in found:
        assert record.fields["image"]["bytes"] is None
        assert Path(record.fields["image"]["path"]).name == f"{record.query[1:]}.png"
    monkeypatch.setattr(datasets.config, "PIL_AVAILABLE", False)
    with pytest.raises(SourceError, match=r"is not installed.*install 'Pillow'"):
        list(source(folder).read())


def test_bad_rows_are_set_aside(tmp_path):
    data = Dataset.from_dict({"query": ["q", None, "r"], "answer": ["a", "b", None]})
    data.save_to_disk(tmp_path / "data")
    good, *bad = source(tmp_path / "data").read()
    assert good.query == "q"
    assert all(isinstance(b, BadRecord) for b in bad)
    assert [str(b.origin) for b in bad] == ["train#1", "train#2"]


# --- quietly ------------------------------------------------------------------------------


def test_nothing_is_shown_and_settings_come_back(tmp_path, capfd, caplog):
    folder = tmp_path / "data"
    folder.mkdir()
    pairs_set().to_parquet(folder / "x.parquet")
    pairs_set().save_to_disk(tmp_path / "saved", num_shards=3)
    capfd.readouterr()
    handlers = list(logging.getLogger("datasets").handlers)
    assert not are_progress_bars_disabled()
    for place in (folder, tmp_path / "saved"):
        assert len(list(source(place).read())) == 6
    assert capfd.readouterr() == ("", "")
    assert not are_progress_bars_disabled()
    assert not huggingface_hub.utils.are_progress_bars_disabled()
    assert logging.getLogger("datasets").handlers == handlers
    assert logging.getLogger("huggingface_hub").propagate
    datasets.disable_progress_bars()
    try:
        list(source(folder).read())
        assert are_progress_bars_disabled()
    finally:
        datasets.enable_progress_bars()


# --- the hub, by a stand-in ---------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """What `load_dataset` is asked, and its answer or error: no hub is reachable in tests."""
    calls = []

    class Hub:
        answer: object = None

    def load(path, name=None, **options):
        calls.append((path, name, options))
        logging.getLogger("datasets.load").warning("using the copy in the cache")
        if isinstance(Hub.answer, Exception):
            raise Hub.answer
        return Hub.answer

    monkeypatch.setattr(datasets, "load_dataset", load)
    Hub.calls = calls
    return Hub


def on_hub(tmp_path, name="org/name", **options) -> DatasetsSource:
    config = {"path": name, **options}
    return DatasetsSource(
        DatasetsSourceOptions.model_validate(config, context={"folder": tmp_path})
    )


@pytest.mark.parametrize("name", ["org/name", "hf:org/name", "hf://datasets/org/name"])
def test_a_hub_id(tmp_path, hub, caplog, name):
    hub.answer = DatasetDict(train=pairs_set(), test=pairs_set(2))
    it = on_hub(tmp_path, name, config="small", revision="abc", split="test")
    with caplog.at_level(logging.INFO):
        assert list(it.read()) == list(it.read())
    # Once for all reads: a branch that moves meanwhile changes nothing.
    asked = ("org/name", "small", {"revision": "abc", "streaming": False})
    assert hub.calls == [asked]
    assert "fetched into the cache" in caplog.text
    assert "using the copy in the cache" in caplog.text


def test_a_stream_of_the_hub(tmp_path, hub):
    hub.answer = {"train": pairs_set().to_iterable_dataset()}
    it = on_hub(tmp_path, streaming=True)
    assert (
        [r.query for r in it.read()] == [r.query for r in it.read()] == list(pairs_set()["query"])
    )
    assert hub.calls[0][2]["streaming"] is True
    with pytest.raises(SourceError, match="streamed has no length"):
        list(on_hub(tmp_path, streaming=True, split="train[:2]").read())


def test_a_folder_wins_over_the_hub(tmp_path, hub):
    pairs_set().save_to_disk(tmp_path / "org" / "name")
    assert len(list(on_hub(tmp_path).read())) == 6
    assert hub.calls == []
    hub.answer = DatasetDict(train=pairs_set(2))
    assert len(list(on_hub(tmp_path, "hf:org/name").read())) == 2


def test_a_folder_that_the_library_would_take_instead(tmp_path, hub, monkeypatch):
    (tmp_path / "here" / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SourceError, match="the current folder has a folder of that name"):
        list(on_hub(tmp_path).read())


FAULTS = [
    (
        datasets.exceptions.DatasetNotFoundError(
            "Dataset 'org/name' is a gated dataset on the Hub."
        ),
        "accept the terms on https://huggingface.co/datasets/org/name, then run `hf auth login`",
    ),
    (
        datasets.exceptions.DatasetNotFoundError("Dataset 'org/name' doesn't exist on the Hub"),
        "no such data set on the hub, or a private one",
    ),
    (
        datasets.exceptions.DatasetNotFoundError("Revision 'x' doesn't exist for dataset"),
        "check `revision`",
    ),
    (ConnectionError("Couldn't reach 'org/name' on the Hub"), "HF_HUB_OFFLINE"),
    (RuntimeError("Dataset scripts are no longer supported, but found name.py"), "never run"),
    (OSError(28, "No space left on device"), "the free disk space"),
    (TimeoutError("slow"), "check the network"),
]


@pytest.mark.parametrize(("fault", "mend"), FAULTS)
def test_what_a_hub_refuses(tmp_path, hub, fault, mend):
    hub.answer = fault
    with pytest.raises(SourceError) as caught:
        list(on_hub(tmp_path).read())
    assert str(caught.value).startswith("hf:org/name: ")
    assert mend in str(caught.value)


def test_offline_for_real(tmp_path):
    with pytest.raises(SourceError, match="hub cannot be reached"):
        list(on_hub(tmp_path, "nobody-of-that/name-at-all").read())


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("path: no_such", "no hub id, which is org/name"),
        ("path: ./no/such", "no such file or folder"),
        ("path: a/b/c", "no such file or folder"),
        ("path: file.jsonl", "is a file; name the folder"),
        ("path: 's3://bucket/folder'", "copy it to a folder"),
        ("path: 'builtin:strong'", "no data set is found by builtin:"),
        ("path: 'hf:name'", "is no hub id"),
        ("path: 'path:nowhere'", "does not exist"),
        ("path: .", "get into each other's way"),
        ("path: out/kept", "get into each other's way"),
    ],
)
def test_paths_that_validate_refuses(tmp_path, given, told):
    (tmp_path / "file.jsonl").write_text("{}\n")
    pairs_set().save_to_disk(tmp_path / "out" / "kept")
    with pytest.raises(RecipeError, match=told):
        qaqfilter.load_recipe(write_recipe(tmp_path, given, "{min: 1}"))


def test_folders_that_hold_no_data_set(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="no data files that `datasets` reads"):
        list(source(empty).read())
    pairs_set().save_to_disk(tmp_path / "torn")
    (tmp_path / "torn" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(SourceError, match="not all of a data set"):
        list(source(tmp_path / "torn").read())
    pairs_set(0).save_to_disk(tmp_path / "none")
    with pytest.raises(SourceError, match="saved without a row"):
        list(source(tmp_path / "none").read())
    pairs_set().save_to_disk(tmp_path / "saved")
    for option, told in (("config", "no configurations"), ("revision", "no revisions")):
        with pytest.raises(SourceError, match=told):
            list(source(tmp_path / "saved", **{option: "x"}).read())


def test_a_file_cut_short(tmp_path):
    pairs_set(5000, answer=["text " * 20] * 5000).save_to_disk(tmp_path / "data")
    path = tmp_path / "data" / "data-00000-of-00001.arrow"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="anew"):
        list(source(tmp_path / "data").read())


def test_a_python_script_is_not_run(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "data.py").write_text("raise SystemExit('it was run')")
    pairs_set().to_parquet(folder / "x.parquet")
    with pytest.raises(SourceError, match="never run"):
        list(source(folder).read())


# --- from run to run ----------------------------------------------------------------------


def test_kept_rows_are_the_originals(tmp_path):
    data = rich_set()
    data.save_to_disk(tmp_path / "data")
    report = qaqfilter.run(write_recipe(tmp_path, "path: data, batch_rows: 4", "{min: 20}"))
    kept = datasets.load_from_disk(tmp_path / "out" / "kept")
    gone = datasets.load_from_disk(tmp_path / "out" / "rejected")
    assert (report.kept, report.rejected) == (len(kept), len(gone)) == (7, 2)
    assert kept.features == data.features == RICH
    assert kept.data.schema.equals(data.data.schema)
    assert undecoded(kept) == undecoded(data)[2:]
    assert gone.features["label"] == RICH["label"]
    assert undecoded(gone.remove_columns("qaq")) == undecoded(data)[:2]
    assert gone["qaq"][1]["ordinal"] == 1 and gone["qaq"][1]["step"] == "size"
    # The data card makes the folder one that load_dataset reads.
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train")
    assert loaded.features == RICH
    assert undecoded(loaded) == undecoded(kept)
    rejected = datasets.load_dataset(str(tmp_path / "out"), "rejected", split="train")
    assert undecoded(rejected) == undecoded(gone)
    # A second look is not mistaken for the first by the cache of `map`.
    again = qaqfilter.run(
        tmp_path / "recipe.yaml", overrides=["steps.size.keep.min=40"], replace=True
    )
    other = datasets.load_from_disk(tmp_path / "out" / "kept")
    assert again.kept < report.kept
    assert other._fingerprint != kept._fingerprint


def test_the_same_run_writes_the_same_bytes(tmp_path):
    rich_set().save_to_disk(tmp_path / "data")
    recipe = write_recipe(tmp_path, "path: data", "{min: 20}")
    seen = []
    for _ in range(2):
        qaqfilter.run(recipe, replace=True)
        seen.append({p.name: p.read_bytes() for p in (tmp_path / "out" / "kept").iterdir()})
    assert seen[0] == seen[1]


def test_nothing_kept(tmp_path):
    rich_set().save_to_disk(tmp_path / "data")
    qaqfilter.run(write_recipe(tmp_path, "path: data", "{min: 100000}"))
    kept = datasets.load_from_disk(tmp_path / "out" / "kept")
    assert len(kept) == 0 and kept.features == RICH
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    assert list(loaded) == [] and loaded.features == RICH


def test_nothing_read(tmp_path):
    sink = DatasetsSink(DatasetsSinkOptions(), tmp_path)
    sink.close()
    report = qaqfilter.run(write_recipe(tmp_path, "path: kept", "{min: 1}"))
    assert report.read == 0
    assert len(datasets.load_from_disk(tmp_path / "out" / "kept")) == 0
    assert not (tmp_path / "out" / "rejected").exists()


def test_several_files(tmp_path):
    data = rich_set(40)
    data.save_to_disk(tmp_path / "data")
    recipe = write_recipe(tmp_path, "path: data, batch_rows: 3", "{min: 1}")
    qaqfilter.run(recipe, overrides=["output.shard_bytes=1"])
    names = sorted(p.name for p in (tmp_path / "out" / "kept").glob("*.arrow"))
    assert names == ["data-00000-of-00001.arrow"]  # fewer rows than are written at a time
    sink = DatasetsSink(DatasetsSinkOptions(shard_bytes=1000), tmp_path / "shards")
    (tmp_path / "shards").mkdir()
    pairs_set(2500).save_to_disk(tmp_path / "many")
    for record in source(tmp_path / "many").read():
        sink.keep(record)
    sink.close()
    assert len(list((tmp_path / "shards" / "kept").glob("data-*-of-00003.arrow"))) == 3
    found = datasets.load_from_disk(tmp_path / "shards" / "kept")
    assert found.to_list() == pairs_set(2500).to_list()


def test_features_go_through_parquet_and_back(tmp_path):
    data = rich_set()
    data.save_to_disk(tmp_path / "data")
    qaqfilter.run(write_recipe(tmp_path, "path: data", "{min: 20}", output="parquet"))
    kept = datasets.load_dataset(str(tmp_path / "out"), split="train")
    assert kept.features == RICH
    assert undecoded(kept) == undecoded(data)[2:]
    back = tmp_path / "back.yaml"
    back.write_text(
        "version: 1\nname: back\ninput: {use: parquet, path: out/kept.parquet}\n"
        "steps: [{id: size, use: length, keep: {min: 1}}]\noutput: {use: datasets, path: back}\n"
    )
    qaqfilter.run(back)
    again = datasets.load_from_disk(tmp_path / "back" / "kept")
    assert again.features == RICH
    assert undecoded(again) == undecoded(kept)


def test_jsonl_becomes_a_data_set(tmp_path, write_recipe, pairs):
    recipe = write_recipe("  - {id: size, use: length, of: answer, keep: {min: 40}}")
    report = qaqfilter.run(recipe, overrides=["output.use=datasets"])
    kept = datasets.load_from_disk(tmp_path / "out" / "kept")
    assert 0 < report.kept < len(pairs)
    wanted = [{"query": q, "answer": a} for q, a in pairs if len(a) >= 40]
    assert kept.to_list() == wanted
    assert kept.features == Features({"query": Value("string"), "answer": Value("string")})


def test_types_that_no_data_set_has(tmp_path):
    column = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))
    pq.write_table(pa.table({"query": ["q"], "answer": ["a"], "m": column}), tmp_path / "m.parquet")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "version: 1\nname: map\ninput: {use: parquet, path: m.parquet}\n"
        "steps: [{id: size, use: length, keep: {min: 1}}]\noutput: {use: datasets, path: out}\n"
    )
    with pytest.raises(RunDirectoryError, match=r"no column of such a type.*use: parquet"):
        qaqfilter.run(recipe)


def test_folders_of_others_are_never_deleted(tmp_path):
    pairs_set().save_to_disk(tmp_path / "data")
    mine = tmp_path / "out" / "kept" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep me")
    recipe = write_recipe(tmp_path, "path: data", "{min: 1}")
    for replace in (False, True):
        with pytest.raises(RunDirectoryError, match="a folder that no finished run left"):
            qaqfilter.run(recipe, replace=replace)
    assert mine.read_text() == "keep me"


def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path):
    pairs_set().save_to_disk(tmp_path / "data")
    recipe = write_recipe(tmp_path, "path: data", "{min: 2}")
    qaqfilter.run(recipe)
    kept = tmp_path / "out" / "kept"
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    qaqfilter.run(recipe, replace=True)
    assert kept.is_dir() and not kept.is_symlink()
    assert len(datasets.load_from_disk(tmp_path / "elsewhere")) == 5


def test_a_manifest_has_no_other_folder_deleted(tmp_path):
    pairs_set().save_to_disk(tmp_path / "data")
    recipe = write_recipe(tmp_path, "path: data", "{min: 2}")
    qaqfilter.run(recipe)
    manifest = tmp_path / "out" / "manifest.json"
    content = json.loads(manifest.read_bytes())
    for name in ("mine", ".."):
        (tmp_path / "out" / "mine").mkdir(exist_ok=True)
        manifest.write_text(json.dumps({**content, "files": {**content["files"], "x": name}}))
        with pytest.raises((RunDirectoryError, OSError)):
            qaqfilter.run(recipe, replace=True)
        assert (tmp_path / "out" / "mine").is_dir() and recipe.exists()


def test_another_format_takes_the_place(tmp_path):
    pairs_set().save_to_disk(tmp_path / "data")
    recipe = write_recipe(tmp_path, "path: data", "{min: 2}")
    out = tmp_path / "out"
    for use, left in (
        ("datasets", {"kept", "rejected"}),
        ("jsonl", {"kept.jsonl", "rejected.jsonl"}),
        ("datasets", {"kept", "rejected"}),
    ):
        qaqfilter.run(recipe, overrides=[f"output.use={use}"], replace=True)
        assert {p.name for p in out.iterdir() if p.stem in ("kept", "rejected")} == left


def test_a_killed_move_is_finished_by_the_next_run(tmp_path):
    pairs_set().save_to_disk(tmp_path / "data")
    recipe = write_recipe(tmp_path, "path: data", "{min: 2}")
    qaqfilter.run(recipe)
    out, partial = tmp_path / "out", tmp_path / "out" / ".partial"
    # As a run leaves it that was killed after it moved one of its two folders.
    partial.mkdir()
    for name in ("rejected", "manifest.json"):
        (out / name).replace(partial / name)
    report = qaqfilter.run(recipe)
    assert len(datasets.load_from_disk(out / "rejected")) == report.rejected
    assert not partial.exists()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COLUMNS = {
    "label": (ClassLabel(names=["a", "b"]), st.none() | st.sampled_from([0, 1])),
    "size": (Value("int8"), st.none() | st.integers(-128, 127)),
    "share": (Value("float64"), st.none() | st.floats(allow_nan=False)),
    "raw": (Value("binary"), st.none() | st.binary(max_size=5)),
    "tags": (List(Value("large_string")), st.none() | st.lists(st.none() | TEXT, max_size=3)),
    "more": ({"x": List({"y": Value("uint16")})}, st.just({"x": [{"y": 7}, {"y": None}]})),
}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rows_go_through(tmp_path_factory, data):
    names = data.draw(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True))
    row = st.fixed_dictionaries(
        {"query": TEXT, "answer": TEXT, **{name: COLUMNS[name][1] for name in names}}
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    kept = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    features = Features(
        {"query": Value("string"), "answer": Value("string")}
        | {name: COLUMNS[name][0] for name in names}
    )
    folder = tmp_path_factory.mktemp("any")
    before = Dataset.from_list(rows, features=features)
    before.save_to_disk(folder / "data")
    sink = DatasetsSink(DatasetsSinkOptions(), folder)
    found = list(source(folder / "data", layout="query_answer", batch_rows=5).read())
    assert len(found) == len(rows)
    for record, keep in zip(found, kept, strict=True):
        if keep:
            sink.keep(record)
        else:
            sink.reject(record, Rejection("s", "min", 0.0, 1.0))
    sink.close()
    after = datasets.load_from_disk(folder / "kept")
    assert undecoded(after) == [r for r, k in zip(undecoded(before), kept, strict=True) if k]
    assert after.features == features


# --- init ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one", "splits"])
def test_init_then_run_without_an_edit(tmp_path, pairs, kind):
    data = Dataset.from_dict({"query": [q for q, _ in pairs], "answer": [a for _, a in pairs]})
    made = data if kind == "one" else DatasetDict(train=data, test=data.select([0]))
    made.save_to_disk(tmp_path / "my data")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    for arguments in (["init", "my data/"], ["run", "recipe.yaml"]):
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert "examples/s" not in done.stderr  # nor the progress bars of another
    kept = datasets.load_from_disk(tmp_path / "out" / "kept")
    assert len(kept) == 2
    assert all(row in data.to_list() for row in kept)


def test_init_of_other_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    pairs_set().to_parquet(tmp_path / "files" / "train.parquet")
    assert run_cli(["init", "files/"]) == 2
    told = capsys.readouterr().err
    assert "files/*" in told and "--source datasets" in told
    assert run_cli(["init", "files", "--source", "datasets", "-o", "below/r.yaml"]) == 0
    assert 'path: "../files"' in (tmp_path / "below" / "r.yaml").read_text()
    assert qaqfilter.plan("below/r.yaml").records == 6
    pairs_set().save_to_disk(tmp_path / "~odd")
    assert run_cli(["init", "~odd", "-o", "odd.yaml"]) == 0
    assert qaqfilter.plan("odd.yaml").records == 6


def test_the_library_is_loaded_late():
    code = (
        "import sys, qaqfilter.cli\nfrom qaqfilter.manager import load_plugins\n"
        "assert 'datasets' in load_plugins().names('source')\n"
        "assert 'datasets' not in sys.modules and 'pyarrow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("use", ["datasets", "parquet"])
def test_numbers_beside_kept_rows_leave_the_features_as_they_are(tmp_path, own_cache, use):
    rich_set().save_to_disk(tmp_path / "saved")
    recipe = write_recipe(tmp_path, "path: saved", "{min: 30}", use)
    report = qaqfilter.run(recipe, overrides=["output.annotate=qaq"])
    assert 0 < report.kept < report.read
    kept = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(own_cache))
    assert kept.features == Features({**RICH, "qaq": {"size": {"length": Value("float64")}}})
    found, wanted = undecoded(kept), undecoded(rich_set())
    wanted = [row for row in wanted if len(row["answer"]) >= 30]
    assert [row.pop("qaq") for row in found] == [
        {"size": {"length": float(len(row["answer"]))}} for row in wanted
    ]
    assert found == wanted
