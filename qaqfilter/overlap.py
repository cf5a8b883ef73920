"""Whether a run would read what it writes."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel

from qaqfilter.addresses import is_address, same_spelling, without_credentials
from qaqfilter.options import PathFolder, PathPattern

_NAMES = ("quarantine.jsonl", "manifest.json", "scores.parquet", "spool-*")
_OF_THE_SINK = ("kept.*", "kept-*", "rejected.*")
_TOKEN = re.compile(r"\[!?[^]]+\]|.", re.DOTALL)
_ESCAPED = re.compile(r"\[([*?[])\]")


def reads_own_output(
    options: BaseModel, folder: str, *, same_format: bool
) -> Iterator[tuple[str, str]]:
    """(option, problem) for every pattern of a source that matches a file of a run in `folder`.

    Judged by the names alone, so that the first run is refused like the second, which would find
    the files of the first. `same_format`: the sink writes the files that the source reads; a sink
    of another kind may write beside the input.
    """
    names = (*_NAMES, *_OF_THE_SINK) if same_format else _NAMES
    # An address is matched like a relative path, which its patterns are taken for, too.
    there = same_spelling(folder) if is_address(folder) else folder
    target = Path(os.path.realpath(there)).parts
    for name in type(options).model_fields:
        value = getattr(options, name)
        for pattern in value if isinstance(value, list | tuple) else [value]:
            if isinstance(pattern, PathFolder):
                source = Path(pattern.removeprefix("path:"))
                if not is_address(folder) and _reads_folder(source, Path(folder), same_format):
                    yield (
                        name,
                        f"{source} and the run's own files in output.path "
                        f"({folder}) get into each other's way: name another output.path, outside "
                        "the data set",
                    )
            elif isinstance(pattern, PathPattern):
                *above, last = _parts(same_spelling(pattern) if is_address(pattern) else pattern)
                end = _TOKEN.findall(last)
                if _matches(above, target) and any(_meet(end, [*own]) for own in names):
                    yield (
                        name,
                        f"{pattern} matches the run's own files in output.path "
                        f"({without_credentials(folder)}), which must not become its input: "
                        "name another output.path, or a narrower pattern",
                    )


def _reads_folder(source: Path, folder: Path, same_format: bool) -> bool:
    """Whether outputs go into the folder that is read, or would replace it."""
    one, other = (Path(os.path.realpath(path)) for path in (source, folder))
    own = same_format and one.parent == other and one.name in ("kept", "rejected")
    return own or other.is_relative_to(one)


def _parts(pattern: str) -> list[str]:
    """The pattern's path, absolute, with symbolic links followed as far as it is literal."""
    parts = Path(os.path.abspath(pattern)).parts  # noqa: PTH100 - `..` goes, links stay
    literal = [_ESCAPED.sub(r"\1", part) for part in parts]
    count = next((i for i, part in enumerate(parts) if glob.escape(literal[i]) != part), len(parts))
    count = min(count, len(parts) - 1)  # the file's own name may be a link: what counts is where
    start = Path(os.path.realpath(Path(*literal[:count]))).parts
    rest = list(parts[count:])
    return [*map(glob.escape, start), *rest, *(["*"] if rest[-1] == "**" else [])]


def _matches(patterns: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path of folders matches; as for `glob`, a star matches no hidden name."""
    if not patterns:
        return not parts
    first, hidden = patterns[0], bool(parts) and parts[0].startswith(".")
    if first == "**":
        here = _matches(patterns[1:], parts)
        return here or (bool(parts) and not hidden and _matches(patterns, parts[1:]))
    if not parts or (hidden and not first.startswith(".")):
        return False
    return fnmatchcase(parts[0], first) and _matches(patterns[1:], parts[1:])


def _meet(one: list[str], other: list[str]) -> bool:
    """Whether some name matches both patterns, each a list of characters, sets, `?` and `*`."""
    if one[:1] == ["*"]:
        return _meet(one[1:], other) or (bool(other) and _meet(one, other[1:]))
    if other[:1] == ["*"]:
        return _meet(other, one)
    if not one or not other:
        return one == other
    same = fnmatchcase(other[0], one[0]) or fnmatchcase(one[0], other[0])
    return same and _meet(one[1:], other[1:])
