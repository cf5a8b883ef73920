"""What a run leaves behind, put in place only when all of it is there."""

from __future__ import annotations

import base64
import os
import platform
import shutil
from collections.abc import Mapping
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
PACKAGES = ("qaqfilter", "numpy", "torch", "transformers", "llama-cpp-python")


class RunDirectory:
    """A folder that is filled under a hidden name and published at the end.

    As a context manager: leaving without `publish` removes what was written and leaves an
    earlier run's files as they were.
    """

    def __init__(self, folder: Path, *, replace: bool) -> None:
        self.folder = folder
        self._replace = replace
        self.partial = folder / f".partial-{os.getpid()}"
        self._quarantine: BinaryIO | None = None

    def __enter__(self) -> RunDirectory:
        if not self._replace:
            self._refuse_to_overwrite()
        try:
            self.partial.mkdir(parents=True)
            self._quarantine = (self.partial / QUARANTINE).open("wb")
        except OSError as error:
            raise RunDirectoryError(f"cannot write to {self.folder}: {error}") from error
        return self

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
        self._close()
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
        assert self._quarantine is not None, "use RunDirectory as a context manager"
        self._quarantine.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def keep_quarantine(self) -> Path:
        """After too many bad records: publish the quarantine alone, so that it can be read."""
        self._close()
        target = self.folder / QUARANTINE
        (self.partial / QUARANTINE).replace(target)
        return target

    def publish(self, manifest: Mapping[str, Any]) -> dict[str, Path]:
        """Move every file into place, the manifest last, and remove an earlier run's leftovers."""
        self._close()
        text = orjson.dumps(
            manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str
        )
        names = sorted(path.name for path in self.partial.iterdir())
        for stale in self._earlier_files() - set(names):
            (self.folder / stale).unlink(missing_ok=True)
        for name in names:
            (self.partial / name).replace(self.folder / name)
        (self.partial / MANIFEST).write_bytes(text)
        (self.partial / MANIFEST).replace(self.folder / MANIFEST)
        return {Path(name).stem.split(".")[0]: self.folder / name for name in [*names, MANIFEST]}

    def _earlier_files(self) -> set[str]:
        path = self.folder / MANIFEST
        if not path.exists():
            return set()
        return set(orjson.loads(path.read_bytes()).get("files", []))

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
