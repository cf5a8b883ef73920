"""The contract of sinks: every record, in order, in files of the folder, which are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from qaqfilter.protocols import Component
from qaqfilter.sinks import Annotates, Sink
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.rules import rule
from qaqfilter.testing.samples import records as sample_records
from qaqfilter.types import Record, Rejection

HOOK = "qaqfilter_sinks"
TAKEN = {"scores.parquet", "quarantine.jsonl", "manifest.json", "README.md"}
REJECTIONS = (Rejection("short", "min", 1.5, 2.0), Rejection("short", "empty_answer", None, None))

Make = Callable[[], Sink]


class SinkContract(ComponentContract):
    """Override `component`, `options` if need be, and `read_back` unless you write JSON lines."""

    @pytest.fixture
    def read_back(self) -> Callable[[Path], list[Mapping[str, Any]]]:
        """Reads what was kept in a folder, as the fields of each record, in order."""
        return _json_lines

    @pytest.fixture
    def records(self) -> list[Record]:
        """What is written: empty sides, odd letters, long texts and plain ones."""
        return sample_records()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Where the sink may write."""
        folder = tmp_path / "folder"
        folder.mkdir()
        return folder

    @pytest.fixture
    def make(
        self, component: Component[Any], config: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Make:
        """Makes the sink for `folder`, while the working folder is another, empty one."""
        elsewhere = folder.parent / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        return lambda: component.create(config, folder)

    @rule(HOOK)
    def test_files_are_called_kept_and_rejected(
        self, make: Make, folder: Path, records: list[Record]
    ) -> None:
        """Files are called `kept.*` and `rejected.*`, or folders `kept` and `rejected`."""
        _write(make(), records[::2], records[1::2])
        names = sorted(path.name for path in folder.iterdir())
        wrong = [name for name in names if name.split(".")[0].split("-")[0] not in _NAMES]
        assert not wrong, f"files called {', '.join(wrong)}"
        assert not TAKEN & {*names}, f"these names are taken: {TAKEN & {*names}}"
        assert any(name.startswith("kept") for name in names), f"no file of kept records: {names}"

    @rule(HOOK)
    def test_it_writes_in_its_folder_alone(
        self, make: Make, folder: Path, records: list[Record]
    ) -> None:
        """Everything is written below `folder`, which is put in place once all is complete."""
        _write(make(), records[::2], records[1::2])
        others = [
            str(path.relative_to(folder.parent))
            for path in folder.parent.rglob("*")
            if folder != path and folder not in path.parents and path.name != "elsewhere"
        ]
        assert not others, f"it wrote {', '.join(others)}"

    @rule(HOOK)
    def test_kept_records_are_there_in_order(
        self,
        make: Make,
        folder: Path,
        records: list[Record],
        read_back: Callable[[Path], list[Mapping[str, Any]]],
    ) -> None:
        """Every kept record is written with all its fields, in the order of the calls; a rejected
        one is not among them.
        """
        _write(make(), records[1:], records[:1])
        found, expected = read_back(folder), [dict(one.fields) for one in records[1:]]
        sizes = f"{len(found)} records came back of {len(expected)}"
        assert len(found) == len(expected), sizes
        for one, two in zip(expected, found, strict=True):
            assert dict(two) == one, f"{dict(two)!r:.300} came back of {one!r:.300}"

    @rule(HOOK)
    def test_rejected_records_are_written(
        self, make: Make, folder: Path, records: list[Record]
    ) -> None:
        """`reject` writes the record and why, also where there is no number to name."""
        _write(make(), [], records)
        with_rejects = _size(folder, "rejected")
        assert with_rejects, f"no file of rejected records: {sorted(folder.iterdir())}"

    @rule(HOOK)
    def test_there_may_be_no_rejects(self, make: Make, folder: Path, records: list[Record]) -> None:
        """With `output.rejects: false` there are no calls of `reject`, and no trace of them."""
        _write(make(), records, [])
        assert not _size(folder, "rejected"), "rejected records, though none was"

    @rule(HOOK)
    def test_nothing_may_be_kept(
        self,
        make: Make,
        folder: Path,
        read_back: Callable[[Path], list[Mapping[str, Any]]],
    ) -> None:
        """A sink that got no record closes like any other, and what it leaves can be read."""
        _write(make(), [], [])
        found = read_back(folder) if any(folder.iterdir()) else []
        assert found == [], f"{found!r} was kept of nothing"

    @rule(HOOK)
    def test_close_closes_its_files(self, make: Make, folder: Path, records: list[Record]) -> None:
        """`close` leaves no file open: they are moved next, which Windows refuses for open ones."""
        sink = make()
        sink.keep(records[0])
        sink.reject(records[1], REJECTIONS[0])
        sink.close()
        still = list(_open_files(folder))
        assert not still, f"still open: {', '.join(still)}"

    @rule(HOOK)
    def test_numbers_stand_beside_their_record(
        self,
        component: Component[Any],
        make: Make,
        folder: Path,
        records: list[Record],
        read_back: Callable[[Path], list[Mapping[str, Any]]],
    ) -> None:
        """A sink with `annotate` and `keep_with` writes the numbers as one more field; the loader
        of recipes sees by the type of `create` that it can.
        """
        sink = make()
        if not isinstance(sink, Annotates):
            sink.close()
            return
        sink.annotate("numbers", {"size": ["length"]})
        for number, record in enumerate(records):
            sink.keep_with(record, {"size": {"length": float(number) if number else None}})
        cast(Sink, sink).close()
        found = [_numbers(row) for row in read_back(folder)]
        expected = [float(n) if n else None for n in range(len(records))]
        assert found == expected, f"{found} instead of {expected}"
        made = component.create if isinstance(component.create, type) else None
        returned = made or component.create.__annotations__.get("return")
        assert returned is not None, "`create` does not say what it returns; annotate it"


class VerbatimSinkContract(SinkContract):
    """For a sink that says that kept rows leave byte for byte, one after the other."""

    @rule(HOOK)
    def test_kept_rows_leave_byte_for_byte(
        self, make: Make, folder: Path, records: list[Record]
    ) -> None:
        """A kept record leaves byte for byte as it came in."""
        _write(make(), records, [])
        (path,) = folder.glob("kept.*")
        content = path.read_bytes()
        assert content == b"".join(one.row for one in records), f"{content!r:.300}"


_NAMES = ("kept", "rejected")


def _write(sink: Sink, kept: list[Record], rejected: list[Record]) -> None:
    try:
        for one in kept:
            sink.keep(one)
        for number, one in enumerate(rejected):
            sink.reject(one, REJECTIONS[number % len(REJECTIONS)])
    finally:
        sink.close()


def _json_lines(folder: Path) -> list[Mapping[str, Any]]:
    (path,) = folder.glob("kept.*")
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def _size(folder: Path, name: str) -> int:
    """Bytes in the files of that name."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    here = [path for path in paths if path.relative_to(folder).parts[0].startswith(name)]
    return sum(path.stat().st_size for path in here)


def _numbers(row: Mapping[str, Any]) -> float | None:
    """The one number that was written beside a record, however the format nests it."""
    found = row["numbers"]
    while isinstance(found, str | dict):
        found = orjson.loads(found) if isinstance(found, str) else next(iter(found.values()))
    return None if found is None else float(found)


def _open_files(folder: Path) -> Iterator[str]:
    """Files below `folder` that this process has open, where the system can say."""
    for handle in Path("/proc/self/fd").glob("*"):
        try:
            target = handle.readlink()
        except OSError:  # closed meanwhile, as the one that lists this very folder
            continue
        if folder.resolve() in target.parents:
            yield target.name
