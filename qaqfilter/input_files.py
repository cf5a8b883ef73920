"""Input files by pattern, each with the short name that records carry as their part."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from qaqfilter.errors import SourceError


def find_files(patterns: list[str]) -> list[tuple[str, Path]]:
    """(part, file) for every file that the patterns match, each file once.

    Patterns come in their own order, the files of one sorted. The part is the file's path below
    the folder that all of them share, with `/`: short, unique, and the same on every machine. A
    byte of a name that is not UTF-8 is written `\\xff`. Raises SourceError where a pattern
    matches no file.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        try:
            found = [path for path in _matches(pattern) if path.is_file()]
        except OSError as error:  # a folder that may not be entered, a name that is too long
            raise SourceError(f"cannot look for {pattern}: {error.strerror or error}") from None
        if not found:
            folder = " (a folder; name the files in it: folder/*)" * Path(pattern).is_dir()
            raise SourceError(f"no file matches {pattern}{folder}")
        paths |= dict.fromkeys(Path(os.path.normpath(path.absolute())) for path in found)
    try:
        shared = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # on several drives
        return [(_in_utf8(path), path) for path in paths]
    return [(_in_utf8(path.relative_to(shared)), path) for path in paths]


def _matches(pattern: str) -> list[Path]:
    """A file of that very name beats the pattern, so that brackets in names do no harm."""
    if Path(pattern).exists():
        return [Path(pattern)]
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _in_utf8(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
