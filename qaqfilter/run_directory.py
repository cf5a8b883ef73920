"""What a run leaves behind, put in place only when all of it is there."""

from __future__ import annotations

import base64
import errno
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from qaqfilter.errors import RunDirectoryError
from qaqfilter.reports import RunReport
from qaqfilter.types import BadRecord

MANIFEST = "manifest.json"
QUARANTINE = "quarantine.jsonl"
OUTPUTS = ("kept.*", "rejected.*", "scores.parquet")
"""What a run would overwrite; the quarantine may be that of a run with too many bad records."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_ROOM = "; make room, or name another folder with --set output.path=..."
PACKAGES = ("qaqfilter", "numpy", "torch", "transformers", "llama-cpp-python")


class RunDirectory:
    """A folder that is filled under a hidden name and published at the end.

    As a context manager: leaving without `publish` removes what was written and leaves an
    earlier run's files as they were. Without `quarantines` there is no quarantine.jsonl.
    """

    def __init__(self, folder: Path, *, replace: bool, quarantines: bool = True) -> None:
        self.folder = folder
        self._replace = replace
        self._quarantines = quarantines
        self.partial = folder / f".partial-{os.getpid()}"
        self._quarantine: BinaryIO | None = None

    def __enter__(self) -> RunDirectory:
        with self.writing():
            if not self._replace:
                self._refuse_to_overwrite()
            self.partial.mkdir(parents=True)
            if self._quarantines:
                self._quarantine = (self.partial / QUARANTINE).open("wb")
        return self

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around whatever writes here: what the system refuses becomes a RunDirectoryError."""
        try:
            yield
        except OSError as error:
            mend = NO_ROOM if error.errno in FULL else ""
            raise RunDirectoryError(f"cannot write to {self.folder}: {error}{mend}") from error

    def _refuse_to_overwrite(self) -> None:
        mend = "run again with --replace, or name another folder with --set output.path=..."
        if (self.folder / MANIFEST).exists():
            raise RunDirectoryError(f"{self.folder} holds a finished run: {mend}")
        foreign = sorted(path for name in OUTPUTS for path in self.folder.glob(name))
        if foreign:
            raise RunDirectoryError(f"{foreign[0]} is there, and no finished run left it: {mend}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._close()
        except OSError:  # said before, or of no interest: what it holds is thrown away
            self._quarantine = None
        if self.partial.exists():
            shutil.rmtree(self.partial)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def quarantine(self, bad: BadRecord) -> None:
        """Set a bad record aside: where it stood, what is wrong, and its bytes."""
        line: dict[str, Any] = {
            "part": bad.origin.part,
            "ordinal": bad.origin.ordinal,
            "line": bad.origin.line,
            "error": bad.error,
        }
        try:
            line["raw"] = bad.row.decode()
        except UnicodeDecodeError:
            line["raw_base64"] = base64.b64encode(bad.row).decode()
        assert self._quarantine is not None, "a context manager that quarantines"
        with self.writing():
            self._quarantine.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def keep_quarantine(self) -> Path:
        """After too many bad records: publish the quarantine alone, so that it can be read."""
        target = self.folder / QUARANTINE
        with self.writing():
            self._close()
            (self.partial / QUARANTINE).replace(target)
        return target

    def publish(self, manifest: Mapping[str, Any]) -> dict[str, Path]:
        """Move every file into place, the manifest last, and remove an earlier run's leftovers."""
        text = orjson.dumps(
            manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str
        )
        with self.writing():
            self._close()
            names = self.files()
            # While the disk may still turn out to be full, nothing has been touched yet.
            (self.partial / MANIFEST).write_bytes(text)
            # A quarantine may be that of a run which failed and so left no manifest.
            for stale in (self._earlier_files() | {QUARANTINE}) - set(names):
                (self.folder / stale).unlink(missing_ok=True)
            for name in (*names, MANIFEST):
                (self.partial / name).replace(self.folder / name)
        return {Path(name).stem.split(".")[0]: self.folder / name for name in [*names, MANIFEST]}

    def _earlier_files(self) -> set[str]:
        """Names that the manifest here lists; nothing outside the folder, whoever wrote it."""
        try:
            files = orjson.loads((self.folder / MANIFEST).read_bytes())["files"]
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return set()
        if not isinstance(files, list):
            return set()
        return {name for name in files if isinstance(name, str) and Path(name).name == name != ""}

    def files(self) -> list[str]:
        """Names of what will be published beside the manifest."""
        return sorted(path.name for path in self.partial.iterdir())

    def _close(self) -> None:
        if self._quarantine is not None:
            self._quarantine.close()
            self._quarantine = None


def make_manifest(
    report: RunReport,
    recipe: Mapping[str, Any],
    limit: int | None,
    input_digest: str,
    files: list[str],
) -> dict[str, Any]:
    """Everything needed to say later what this run was."""
    account = asdict(report)
    del account["folder"], account["files"]
    return {
        "format": 1,
        "recipe": dict(recipe),
        "limit": limit,
        "input_digest": input_digest,
        "files": files,
        **account,
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
    }


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
