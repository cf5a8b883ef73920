"""Input files by pattern, here or elsewhere, each with the short name that records carry."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from qaqfilter.addresses import STDIN, is_address, without_credentials
from qaqfilter.compressed import PIECE
from qaqfilter.errors import SourceError
from qaqfilter.remote_files import Remote, find_remote
from qaqfilter.spooling import copy_in, copy_of, is_read_once, shown_name


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read. As text it is its path or address, fit to be shown.

    Attributes
    ----------
    part: its short name.
    suffixes: the endings of its name, as those of a `Path`.
    packing: the ending that tells how its bytes are compressed.
    path: where it is on this machine; None where it is elsewhere.
    """

    part: str
    shown: str
    suffixes: tuple[str, ...]
    packing: str
    path: Path | None
    remote: Remote | None = None

    def __str__(self) -> str:
        return self.shown

    def open(self, *, seeks: bool = False) -> BinaryIO:
        """Its bytes. With `seeks` it will not be read from beginning to end. Raises OSError."""
        if self.remote is not None:
            return self.remote.open(seeks=seeks)
        assert self.path is not None, "a file is here or elsewhere"
        return self.path.open("rb", buffering=PIECE)


@dataclass(frozen=True, slots=True)
class _Copied:
    """An input that is read from its copy."""

    pattern: str
    path: Path


_Place = Path | Remote | _Copied


class InputFiles:
    """What a source's patterns match. A source that holds one hands `spool` and `use_spool` on.

    Standard input and web servers are read once, into a copy, from where all reads come: in the
    folder that a run names, else in a temporary one that goes with this object.
    """

    def __init__(self, patterns: str | Sequence[str]) -> None:
        self._patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self._once = [p for p in dict.fromkeys(self._patterns) if is_read_once(p)]
        self._copies: Path | None = None

    def spool(self, folder: Path) -> None:
        """Copy into `folder` what is read once. Raises SourceError, and OSError of the folder."""
        if STDIN in self._patterns and len(self._patterns) > 1:
            raise SourceError("standard input (-) is read alone; name files, or pipe them all in")
        for number, pattern in enumerate(self._once):
            copy_in(pattern, folder, number)
        self._copies = folder

    def use_spool(self, folder: Path) -> None:
        """Read the copies that `spool` left in `folder`. Raises SourceError where one is gone."""
        for number, pattern in enumerate(self._once):
            if copy_of(folder, number) is None:
                raise SourceError(
                    f"{shown_name(pattern)}: the copy that the run kept of it in {folder} is gone; "
                    "score again, with the same input"
                )
        self._copies = folder

    def find(self) -> list[InputFile]:
        """Every file that the patterns match, once.

        Patterns come in their own order, the files of one sorted. The part is the file's path
        below the folder that all of them share, with `/`: short, unique, and the same on every
        machine. A byte of a name that is not UTF-8 is written `\\xff`. Where some files are here
        and others elsewhere, the others' parts are their addresses. Raises SourceError where a
        pattern matches no file.
        """
        if self._once and self._copies is None:
            folder = tempfile.mkdtemp(prefix="qaqfilter-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.spool(Path(folder))
        places: dict[object, _Place] = {}
        for pattern in self._patterns:
            for place in self._found(pattern):
                same = (place.shown, place.path) if isinstance(place, Remote) else place
                places.setdefault(same, place)
        found = list(places.values())
        parts = _parts(found)
        return [_file(place, part) for place, part in zip(found, parts, strict=True)]

    def _found(self, pattern: str) -> Sequence[_Place]:
        if pattern in self._once:
            assert self._copies is not None, "made before anything is looked for"
            copy = copy_of(self._copies, self._once.index(pattern))
            if copy is None:
                raise SourceError(f"{shown_name(pattern)}: its copy in {self._copies} is gone")
            return [_Copied(pattern, copy)]
        return find_remote(pattern) if is_address(pattern) else _here(pattern)


def part_of(files: Sequence[InputFile], part: str) -> InputFile:
    """The file of that short name. Raises SourceError where there is none."""
    for file in files:
        if file.part == part:
            return file
    raise SourceError(f"{part} is not among the {len(files)} files of the input: it was moved")


def _file(place: _Place, part: str) -> InputFile:
    if isinstance(place, Remote):
        name = PurePosixPath(place.shown)
        return InputFile(part, place.shown, tuple(name.suffixes), name.suffix, None, place)
    if isinstance(place, _Copied):
        shown = shown_name(place.pattern)
        suffixes = () if place.pattern == STDIN else tuple(PurePosixPath(shown).suffixes)
        return InputFile(part, shown, suffixes, place.path.suffix, place.path)
    return InputFile(part, str(place), tuple(place.suffixes), place.suffix, place)


def _parts(places: Sequence[_Place]) -> list[str]:
    """A name for each."""
    here = [place for place in places if isinstance(place, Path)]
    if len(here) == len(places):
        return _below_shared(here)
    local = iter(_below_shared(here))
    elsewhere = [_address(place) for place in places if not isinstance(place, Path)]
    remote = iter(elsewhere if here else _without_shared(elsewhere))
    parts = [next(local if isinstance(place, Path) else remote) for place in places]
    seen: Counter[str] = Counter()
    for index, part in enumerate(parts):  # addresses that differ in what is not shown
        seen[part] += 1
        parts[index] = part if seen[part] == 1 else f"{part}#{seen[part]}"
    return parts


def _address(place: Remote | _Copied) -> str:
    if isinstance(place, Remote):
        return place.shown
    return "stdin" if place.pattern == STDIN else without_credentials(place.pattern)


def _without_shared(addresses: Sequence[str]) -> list[str]:
    """Addresses below the folder that they share; whole where they have not even the scheme."""
    split = [address.split("/") for address in addresses]
    shared = os.path.commonprefix([pieces[:-1] for pieces in split])  # noqa: RUF071 - of lists
    return ["/".join(pieces[len(shared) :]) for pieces in split]


def _below_shared(paths: Sequence[Path]) -> list[str]:
    if not paths:
        return []
    try:
        shared = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # on several drives
        return [_in_utf8(path) for path in paths]
    return [_in_utf8(path.relative_to(shared)) for path in paths]


def _here(pattern: str) -> list[Path]:
    """Files of this machine, their paths absolute."""
    try:
        found = [path for path in _matches(pattern) if path.is_file()]
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise SourceError(f"cannot look for {pattern}: {error.strerror or error}") from None
    if not found:
        folder = " (a folder; name the files in it: folder/*)" * Path(pattern).is_dir()
        raise SourceError(f"no file matches {pattern}{folder}")
    return [Path(os.path.normpath(path.absolute())) for path in found]


def _matches(pattern: str) -> list[Path]:
    """A file of that very name beats the pattern, so that brackets in names do no harm."""
    if Path(pattern).exists():
        return [Path(pattern)]
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _in_utf8(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
