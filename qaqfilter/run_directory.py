"""What a run leaves behind, put in place only when all of it is there."""

from __future__ import annotations

import base64
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from qaqfilter.errors import RunDirectoryError
from qaqfilter.input_parts import InputPart
from qaqfilter.manifest import MANIFEST, Manifest, read_manifest
from qaqfilter.run_lock import BEGUN, note_begun, only_run
from qaqfilter.types import BadRecord

QUARANTINE = "quarantine.jsonl"
CARD = "README.md"
FOLDERS = ("kept", "rejected")
OUTPUTS = (*FOLDERS, "kept.*", "kept-*.*", "rejected.*", "scores.parquet")
"""What a run would overwrite; the quarantine may be that of a run with too many bad records."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_ROOM = "; make room, or name another folder with --set output.path=..."
ELSEWHERE = "run again with --replace, or name another folder with --set output.path=..."


class RunDirectory:
    """A folder that is filled under a hidden name and published at the end.

    As a context manager: nobody else runs in it meanwhile; leaving without `publish` removes
    what was written and leaves an earlier run's files as they were. With `card` the run writes a
    README.md, and must not overwrite the user's.

    Attributes
    ----------
    partial: where files are written until they are published.
    manifest: that of the finished run that is there, if any.
    input_before: what the latest run here read, finished or not, where that is known.
    """

    def __init__(self, folder: Path, *, replace: bool, card: bool = False) -> None:
        self.folder = folder
        self.partial = folder / ".partial"
        self.manifest: Manifest | None = None
        self.input_before: tuple[InputPart, ...] | None = None
        self._replace = replace
        self._card = card
        self._quarantine: BinaryIO | None = None
        self._leaving = ExitStack()

    def __enter__(self) -> RunDirectory:
        with ExitStack() as stack, self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.callback(self._remove_if_empty)
            begun = stack.enter_context(only_run(self.folder))
            stack.callback(self._clear)
            stack.callback(self._finish_publishing)  # an interruption may come between two moves
            self._finish_publishing()
            self._clear()
            self.manifest = self._earlier()
            found = begun.input if begun else None
            self.input_before = found or (self.manifest.input if self.manifest else None)
            self._refuse_foreign_folders()
            if not self._replace:
                self._refuse_foreign()
            self.partial.mkdir()
            self._leaving = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # said before, or of no interest: what it holds is thrown away
            self._close()
        self._leaving.close()

    def _earlier(self) -> Manifest | None:
        try:
            return read_manifest(self.folder)
        except RunDirectoryError:
            if self._replace:
                return None
            raise

    def _refuse_foreign_folders(self) -> None:
        """Whole folders are deleted only where a run is known to have written them."""
        for name in {*FOLDERS} - {*(self.manifest.files if self.manifest else ())}:
            if (self.folder / name).is_dir():
                raise RunDirectoryError(
                    f"{self.folder / name} is a folder that no finished run left; move it away"
                )

    def _refuse_foreign(self) -> None:
        if self.manifest is None:
            foreign = sorted(path for name in OUTPUTS for path in self.folder.glob(name))
            if foreign:
                raise RunDirectoryError(
                    f"{foreign[0]} is there, and no finished run left it: {ELSEWHERE}"
                )
        # Folders often have one of the user's own, also beside the numbers of an earlier run.
        ours = self.manifest is not None and CARD in self.manifest.files
        card = self.folder / CARD
        if self._card and not ours and (card.exists() or card.is_symlink()):
            raise RunDirectoryError(
                f"{card} is there, and no finished run left it: keep it with --set "
                f"output.card=false, or have it overwritten: {ELSEWHERE}"
            )

    def _finish_publishing(self) -> None:
        """A run that was killed while it moved its files had all of them: move the rest."""
        if self.partial.is_symlink() or not (self.partial / MANIFEST).exists():
            return
        with suppress(RunDirectoryError):
            manifest = read_manifest(self.partial)
            assert manifest is not None, "it exists, and nobody else is at work here"
            self._move(manifest.files)

    def _clear(self) -> None:
        """Remove what a run that ended early left: under the lock, it is nobody's any more."""
        for path in (*self.folder.glob(".partial*"), *self.folder.glob(f"{BEGUN}.*")):
            _remove(path)

    def _remove_if_empty(self) -> None:
        with suppress(OSError):
            self.folder.rmdir()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around whatever writes here: what the system refuses becomes a RunDirectoryError."""
        try:
            yield
        except OSError as error:
            mend = NO_ROOM if error.errno in FULL else ""
            raise RunDirectoryError(f"cannot write to {self.folder}: {error}{mend}") from error

    def note_input(self, parts: Sequence[InputPart]) -> None:
        """Write down what this run reads, for the run that goes on after it is stopped."""
        with self.writing():
            note_begun(self.folder, parts)

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
        with self.writing():
            self._opened().write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def open_quarantine(self) -> None:
        """Have a quarantine.jsonl, even where nothing is bad."""
        with self.writing():
            self._opened()

    def copy_quarantine(self, folder: Path) -> None:
        """Take over the quarantine of another run, if there is one."""
        with self.writing(), suppress(FileNotFoundError):
            shutil.copy2(folder / QUARANTINE, self.partial / QUARANTINE)

    def keep_quarantine(self) -> Path:
        """After too many bad records: publish the quarantine alone, so that it can be read."""
        target = self.folder / QUARANTINE
        with self.writing():
            self._close()
            (self.partial / QUARANTINE).replace(target)
        return target

    def files(self) -> dict[str, Path]:
        """Where everything that is written so far will be, by what it is, the manifest last."""
        names = sorted(path.name for path in self.partial.iterdir())
        return {Path(name).stem.split(".")[0]: self.folder / name for name in [*names, MANIFEST]}

    def publish(self, manifest: bytes) -> None:
        """Move every file into place, the manifest last, and remove an earlier run's leftovers.

        The manifest among the partial files says that all are whole: from there on a run that is
        killed is finished by the next.
        """
        with self.writing():
            self._close()
            names = sorted(path.name for path in self.partial.iterdir())
            for name in names:
                _sync(self.partial / name)
            # While the disk may still turn out to be full, nothing has been touched yet.
            whole = self.partial / f".{MANIFEST}"
            whole.write_bytes(manifest)
            _sync(whole)
            whole.replace(self.partial / MANIFEST)
            self._move(names)

    def _move(self, names: Sequence[str]) -> None:
        earlier = None
        with suppress(RunDirectoryError):
            earlier = read_manifest(self.folder)
        # A quarantine may be that of a run which failed and so left no manifest.
        ours = earlier.files if earlier else ()
        stale = {QUARANTINE, *ours} - {*names, MANIFEST}
        for name in stale - {*FOLDERS}:
            (self.folder / name).unlink(missing_ok=True)
        for name in {*FOLDERS} & {*ours}:  # nothing can be moved onto a folder
            _remove(self.folder / name)
        # While files are moved, the old manifest would describe some that are not its own.
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for name in (*names, MANIFEST):
            if (self.partial / name).exists():
                (self.partial / name).replace(self.folder / name)
        (self.folder / BEGUN).unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._quarantine is None:
            self._quarantine = (self.partial / QUARANTINE).open("wb")
        return self._quarantine

    def _close(self) -> None:
        if self._quarantine is not None:
            self._quarantine.close()
            self._quarantine = None


def _remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; what is not there is no matter."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the system write a file out: a name must not survive a power cut without its bytes."""
    if path.is_dir():
        for inside in path.iterdir():
            _sync(inside)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())
