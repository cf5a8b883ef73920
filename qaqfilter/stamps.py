"""Files as they once were: size, time of the last change and SHA-256, and how they differ now.

A file of the same size and time counts as unchanged; only where these differ is it read again, so
that a copy with a new time is not called changed, and models of gigabytes are not read in vain.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qaqfilter.digests import weight_files
from qaqfilter.model_files import ModelFiles


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as it was: its bytes, the nanosecond of its last change, SHA-256 in hex."""

    size: int
    mtime_ns: int
    sha256: str


Stamps = Mapping[str, Stamp]
"""The files at a path: a file's own name, or those below a folder, relative to it."""


def stamped(path: Path, known: Stamps) -> Stamps | None:
    """What is at `path`; None where nothing is, or nothing that can be read.

    A digest is taken over from `known` where size and time are the same. A GGUF file stands for
    all of its parts. Hidden files and folders in a folder are not looked at, nor are pipes and
    the like, which cannot be read twice.
    """
    try:
        found = dict(_files(path))
        return {name: _stamp(file, known.get(name)) for name, file in found.items()}
    except OSError:
        return None


def code_digest(files: Sequence[Path]) -> str | None:
    """SHA-256, hex, over the contents of files, in order; None where one cannot be read."""
    total = hashlib.sha256()
    try:
        for file in files:
            total.update(hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return None
    return total.hexdigest()


def stamps_differ(path: Path, before: Stamps, now: Stamps | None) -> Iterator[str]:
    """What changed at `path`, a phrase a file: changed, new or gone."""
    if now is None:
        yield f"{path} is gone, or cannot be read"
        return
    for name, old in before.items():
        file = _place(path, name)
        new = now.get(name)
        if new is None:
            yield f"{file} is gone"
        elif new.sha256 != old.sha256:
            sizes = f"{old.size} bytes then, {new.size} now"
            yield f"{file} changed ({sizes if old.size != new.size else 'as long as it was'})"
    yield from (f"{_place(path, name)} is new" for name in now if name not in before)


def _place(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path.with_name(name)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of each file; OSError where there is nothing. Links to files are followed."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        parts = weight_files(ModelFiles(path, "gguf", ""))
        yield from ((part.name, part) for part in parts)
    elif stat.S_ISDIR(mode):
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder, name)
                if not name.startswith(".") and file.is_file():
                    yield file.relative_to(path).as_posix(), file
    else:
        raise OSError(f"{path} is neither a file nor a folder")


def _stamp(file: Path, known: Stamp | None) -> Stamp:
    with file.open("rb") as stream:
        there = os.fstat(stream.fileno())
        if known is not None and (known.size, known.mtime_ns) == (there.st_size, there.st_mtime_ns):
            return known
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Stamp(there.st_size, there.st_mtime_ns, digest)
