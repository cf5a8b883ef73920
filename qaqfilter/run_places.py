"""Where run directories are: in a folder of this machine, or at an address.

A run always works in a folder of this machine, its desk: what it has not published yet is there,
hidden, and the lock. In a folder that is the folder itself. For an address it is one in the user's
cache, named by the address, so that a run that was stopped goes on from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from qaqfilter.addresses import BUCKETS, Address, file_system, is_address, without_credentials
from qaqfilter.cache import user_cache
from qaqfilter.disk import delete
from qaqfilter.errors import RunDirectoryError, SourceError
from qaqfilter.manifest import MANIFEST, Manifest, parse_manifest, read_manifest

FOLDERS = ("kept", "rejected")
"""What a sink may write as a folder: the only ones that are ever deleted."""


class Place(Protocol):
    """A run directory's place.

    Attributes
    ----------
    where: the folder or address, as messages and reports name it.
    desk: the folder of this machine in which a run works.
    at_once: whether publishing a file is a matter of moving it.
    """

    @property
    def where(self) -> Path | Address: ...
    @property
    def desk(self) -> Path: ...
    @property
    def at_once(self) -> bool: ...

    def manifest(self) -> Manifest | None:
        """That of the finished run there. Raises RunDirectoryError for one that is no manifest."""
        ...

    def names(self) -> set[str]:
        """All files there. Raises RunDirectoryError where nobody can write there, if it shows."""
        ...

    def put(self, file: Path) -> None:
        """Move a file of the desk there, whole or not at all; of a folder, its files."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or one of FOLDERS with all that is in it, if it is there."""
        ...

    def leave(self) -> None:
        """Remove the desk if nothing is left on it."""
        ...


def place_of(path: str | Path) -> Folder | Elsewhere:
    """The place of a path or an address. Raises RunDirectoryError where it cannot be one."""
    return Elsewhere(str(path)) if is_address(str(path)) else Folder(Path(path))


class Folder:
    """A folder of this machine: files are moved into place by their names."""

    at_once = True

    def __init__(self, folder: Path) -> None:
        self.where = self.desk = folder

    def manifest(self) -> Manifest | None:
        """The manifest in the folder."""
        return read_manifest(self.where)

    def names(self) -> set[str]:
        """What is in the folder."""
        return {path.name for path in self.where.iterdir()}

    def put(self, file: Path) -> None:
        """Give it its name in the folder."""
        if file.is_dir():  # no file system replaces a folder by another
            self.remove(file.name)
        file.replace(self.where / file.name)

    def remove(self, name: str) -> None:
        """Remove something of the folder; OSError where it is a folder of somebody else."""
        if name in FOLDERS:
            delete(self.where / name)
        else:
            (self.where / name).unlink(missing_ok=True)

    def leave(self) -> None:
        """Remove the folder if it is empty."""
        with suppress(OSError):
            self.where.rmdir()

    @contextmanager
    def fetched(self, *names: str) -> Iterator[Path]:
        """The folder itself."""
        yield self.where


class Elsewhere:
    """An address that fsspec writes to: files are uploaded, each whole or not at all.

    Everything that is refused becomes a RunDirectoryError that names the address, without
    credentials.
    """

    at_once = False

    def __init__(self, address: str) -> None:
        self.where = Address(without_credentials(address).rstrip("/"))
        self._scheme = self.where.partition(":")[0].lower()
        if self._scheme in ("http", "https"):
            raise RunDirectoryError(
                f"{self.where}: files there can only be read; name a folder, or an address that "
                "can be written to, such as s3://bucket/folder"
            )
        digest = blake2b(self.where.encode(), digest_size=16).hexdigest()
        self.desk = user_cache() / "runs" / digest
        try:
            with self._reaching("use"):
                self._system, path = file_system(address)
        except SourceError as error:
            raise RunDirectoryError(f"output.path: {error}") from None
        self._path = str(path).rstrip("/")

    def manifest(self) -> Manifest | None:
        """The manifest at the address."""
        with self._reaching("read from"):
            try:
                written: bytes = self._system.cat_file(self._file(MANIFEST))
            except FileNotFoundError:
                return None
        return parse_manifest(written, self.where)

    def names(self) -> set[str]:
        """What is below the address."""
        with self._reaching("read from"):
            self._system.invalidate_cache()
            try:
                found = self._system.ls(self._path, detail=False)
            except FileNotFoundError:
                found = []
                bucket = self._path.partition("/")[0]
                if self._scheme in BUCKETS and not self._system.exists(bucket):
                    raise RunDirectoryError(
                        f"{self.where}: there is no bucket {bucket!r}; make it, or name another "
                        "place with --set output.path=..."
                    ) from None
        return {str(path).rstrip("/").rpartition("/")[2] for path in found}

    def put(self, file: Path) -> None:
        """Upload it; it goes from the desk when it is there."""
        if file.is_dir():
            self.remove(file.name)
            for inside in sorted(file.rglob("*")):
                if inside.is_file():
                    self._upload(inside, inside.relative_to(file.parent).as_posix())
        else:
            self._upload(file, file.name)
        delete(file)

    def _upload(self, file: Path, name: str) -> None:
        target, size = self._file(name), file.stat().st_size
        with self._reaching("write to"):
            if self._scheme not in BUCKETS:  # in a bucket it would make the bucket
                self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._system.put_file(str(file), target)
            self._system.invalidate_cache()
            arrived = self._system.info(target)["size"]
            if arrived != size:
                raise OSError(f"of {name} {arrived} bytes arrived, and it has {size}")

    def remove(self, name: str) -> None:
        """Remove something at the address."""
        with self._reaching("remove files from"), suppress(FileNotFoundError):
            self._system.invalidate_cache()
            self._system.rm(self._file(name), recursive=name in FOLDERS)

    def leave(self) -> None:
        """Remove the desk if it is empty."""
        with suppress(OSError):
            self.desk.rmdir()

    @contextmanager
    def fetched(self, *names: str) -> Iterator[Path]:
        """A folder with copies of those files that are there, as long as the context is open.

        A name may end in a star.
        """
        starts = [name[:-1] for name in names if name.endswith("*")]
        if starts:
            there = [name for name in self.names() if name.startswith(tuple(starts))]
            names = (*(name for name in names if not name.endswith("*")), *there)
        with tempfile.TemporaryDirectory(prefix="qaqfilter-") as folder:
            for name in names:
                with self._reaching("read from"), suppress(FileNotFoundError):
                    self._system.get_file(self._file(name), str(Path(folder, name)))
            yield Path(folder)

    def _file(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextmanager
    def _reaching(self, doing: str) -> Iterator[Any]:
        try:
            yield
        except (RunDirectoryError, SourceError):
            raise
        except Exception as error:  # every file system has exceptions of its own
            told = " ".join(str(error).split()) or type(error).__name__
            waits = self.desk / ".partial" / MANIFEST
            mend = f"; the run is finished and waits in {self.desk}: the same command uploads it"
            raise RunDirectoryError(
                f"cannot {doing} {self.where}: {told} (keys, endpoints and the like come from the "
                f"environment of the file system, not from the recipe){mend * waits.exists()}"
            ) from error
