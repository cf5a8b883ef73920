"""What a run leaves behind, put in place only when all of it is there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import orjson

from qaqfilter.addresses import Address
from qaqfilter.disk import delete, link_or_copy, sync
from qaqfilter.errors import RunDirectoryError
from qaqfilter.input_parts import InputPart
from qaqfilter.manifest import MANIFEST, Manifest, read_manifest
from qaqfilter.quarantine import QUARANTINE, quarantine_line
from qaqfilter.run_lock import BEGUN, note_begun, only_run
from qaqfilter.run_places import FOLDERS, Folder, Place
from qaqfilter.types import BadRecord

CARD = "README.md"
_FILES = "kept.* kept-*.* rejected.* scores.parquet tokens.parquet spool-*.*"
OUTPUTS = (*FOLDERS, *_FILES.split())
"""What a run would overwrite; the quarantine may be that of a run with too many bad records."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_ROOM = "; make room, or name another folder with --set output.path=..."
STALE = ".stale.json"
ELSEWHERE = "run again with --replace, or name another folder with --set output.path=..."


class RunDirectory:
    """A folder that is filled under a hidden name and published at the end.

    As a context manager: nobody else runs in it meanwhile; leaving without `publish` removes
    what was written and leaves an earlier run's files as they were. `for_people` are files of
    which the user may have one, each with the setting that leaves it out.

    Attributes
    ----------
    partial: where files are written until they are published.
    manifest: that of the finished run that is there, if any.
    input_before: what the latest run here read, finished or not, where that is known.
    """

    def __init__(
        self, place: Path | Place, *, replace: bool, for_people: Mapping[str, str] | None = None
    ) -> None:
        self.place: Place = Folder(place) if isinstance(place, Path) else place
        self.desk = self.place.desk
        self.partial = self.desk / ".partial"
        self.manifest: Manifest | None = None
        self.input_before: tuple[InputPart, ...] | None = None
        self._replace = replace
        self._for_people = for_people or {}
        self._quarantine: BinaryIO | None = None
        self._leaving = ExitStack()

    def __enter__(self) -> RunDirectory:
        with ExitStack() as stack, self.writing():
            self.desk.mkdir(parents=True, exist_ok=True)
            stack.callback(self.place.leave)
            begun = stack.enter_context(only_run(self.desk, self.place.where))
            stack.callback(self._clear_unless_whole)
            if self.place.at_once:  # an interruption may come between two moves
                stack.callback(self._finish_publishing)
            self._finish_publishing()
            self._clear()
            there = self.place.names()  # with --replace, too: shows whether it can be reached
            self.manifest = self._earlier()
            found = begun.input if begun else None
            self.input_before = found or (self.manifest.input if self.manifest else None)
            self._refuse_foreign_folders(there)
            if not self._replace:
                self._refuse_foreign(there)
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
            return self.place.manifest()
        except RunDirectoryError:
            if self._replace:
                return None
            raise

    def _refuse_foreign_folders(self, there: set[str]) -> None:
        """Whole folders are deleted only where a run is known to have written them."""
        ours = self.manifest.files if self.manifest else ()
        for name in sorted({*FOLDERS} & there - {*ours}):
            raise RunDirectoryError(
                f"{self.place.where / name} is a folder that no finished run left; move it away"
            )

    def _refuse_foreign(self, there: set[str]) -> None:
        where, ours = self.place.where, self.manifest.files if self.manifest else ()
        if self.manifest is None:
            for name in sorted(there):
                if any(fnmatchcase(name, pattern) for pattern in OUTPUTS):
                    raise RunDirectoryError(
                        f"{where / name} is there, and no finished run left it: {ELSEWHERE}"
                    )
        # Folders often have one of the user's own, also beside the numbers of an earlier run.
        for name in sorted({*self._for_people} & there - {*ours}):
            raise RunDirectoryError(
                f"{where / name} is there, and no finished run left it: keep it with --set "
                f"{self._for_people[name]}, or have it overwritten: {ELSEWHERE}"
            )

    def _is_whole(self) -> bool:
        """Whether there is a run that came to its end, and whose files were not all moved."""
        return not self.partial.is_symlink() and (self.partial / MANIFEST).exists()

    def _finish_publishing(self) -> None:
        """A run that was killed while it moved its files had all of them: move the rest."""
        if not self._is_whole():
            return
        try:
            manifest = read_manifest(self.partial)
        except RunDirectoryError:  # of another version: to be done again
            return
        assert manifest is not None, "it exists, and nobody else is at work here"
        self._move(manifest.files)

    def _clear_unless_whole(self) -> None:
        """What is whole and could not be put in place stays for the next run to do so."""
        if not self._is_whole():
            self._clear()

    def _clear(self) -> None:
        """Remove what a run that ended early left: under the lock, it is nobody's any more."""
        for path in (*self.desk.glob(".partial*"), *self.desk.glob(f"{BEGUN}.*")):
            delete(path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around whatever writes here: what the system refuses becomes a RunDirectoryError."""
        try:
            yield
        except OSError as error:
            mend = NO_ROOM if error.errno in FULL else ""
            raise RunDirectoryError(f"cannot write to {self.desk}: {error}{mend}") from error

    def note_input(self, parts: Sequence[InputPart]) -> None:
        """Write down what this run reads, for the run that goes on after it is stopped."""
        with self.writing():
            note_begun(self.desk, parts)

    def quarantine(self, bad: BadRecord) -> None:
        """Set a bad record aside: where it stood, what is wrong, and its bytes."""
        with self.writing():
            (self._quarantine or self.open_quarantine()).write(quarantine_line(bad))

    def open_quarantine(self) -> BinaryIO:
        """Have an empty quarantine.jsonl, even where nothing is bad."""
        with self.writing():
            self._close()
            self._quarantine = (self.partial / QUARANTINE).open("wb")
        return self._quarantine

    def take_over(self, folder: Path, names: Sequence[str]) -> None:
        """Have those files of another run, too, that are there."""
        with self.writing():
            for name in names:
                with suppress(FileNotFoundError):
                    link_or_copy(folder / name, self.partial / name)

    def keep_quarantine(self) -> Path | Address:
        """After too many bad records: publish the quarantine alone, so that it can be read."""
        with self.writing():
            self._close()
            self.place.put(self.partial / QUARANTINE)
        return self.place.where / QUARANTINE

    def files(self) -> dict[str, Path | Address]:
        """Where everything that is written so far will be, by what it is, the manifest last."""
        names = sorted(path.name for path in self.partial.iterdir())
        where = self.place.where
        return {Path(name).stem.split(".")[0]: where / name for name in [*names, MANIFEST]}

    def publish(self, manifest: bytes) -> None:
        """Move every file into place, the manifest last, and remove an earlier run's leftovers.

        The manifest among the partial files says that all are whole: from there on a run that is
        killed is finished by the next.
        """
        with self.writing():
            self._close()
            names = sorted(path.name for path in self.partial.iterdir())
            for name in names:
                sync(self.partial / name)
            # While the disk may still turn out to be full, nothing has been touched yet.
            self._write(STALE, orjson.dumps(sorted(self._stale(names))))
            self._write(MANIFEST, manifest)
            self._move(names)

    def _stale(self, names: Sequence[str]) -> set[str]:
        """What an earlier run left that this one does not write anew."""
        earlier = self.manifest.files if self.manifest else ()
        # A quarantine may be that of a run which failed and so left no manifest.
        return {QUARANTINE, *earlier} - {*names, MANIFEST}

    def _write(self, name: str, content: bytes) -> None:
        """A file of the partial folder, there only when it is whole."""
        whole = self.partial / f"{name}.whole"
        whole.write_bytes(content)
        sync(whole)
        whole.replace(self.partial / name)

    def _move(self, names: Sequence[str]) -> None:
        # While files are moved, the old manifest would describe some that are not its own.
        self.place.remove(MANIFEST)
        with suppress(FileNotFoundError):
            for name in orjson.loads((self.partial / STALE).read_bytes()):
                self.place.remove(Path(name).name)
        for name in (*names, MANIFEST):
            if (self.partial / name).exists():
                self.place.put(self.partial / name)
        (self.desk / BEGUN).unlink(missing_ok=True)

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
