"""Looking after the score store: what it holds, whether it is sound, and deleting from it.

Only a store's own files are counted, moved or deleted: those that `parts.py` names, and facts.json,
in folders whose name is a fingerprint. Links are nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from qaqfilter.compaction import KINDS, SCORES, sweep
from qaqfilter.identity import fingerprint
from qaqfilter.part_kinds import Kind
from qaqfilter.parts import (
    OUR_NAME,
    is_damage,
    move_aside,
    new_path,
    parts_of,
    read_rows,
)
from qaqfilter.token_parts import TOKENS

FACTS = "facts.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Holding:
    """What the folder of one fingerprint holds. `scores` counts one that stands twice twice.

    `detailed` is how many of them are there token by token too. `size` is in bytes, `used` in
    seconds since 1970: when it was last opened or written. `facts` is None where they cannot be
    read, `unreadable` are parts of which that is so.
    """

    folder: Path
    facts: Mapping[str, object] | None
    parts: int
    scores: int
    size: int
    used: float
    damaged: int
    unreadable: tuple[Path, ...]
    detailed: int = 0


def fingerprints(root: Path) -> list[Path]:
    """The folders of a store, one for each fingerprint. Raises OSError."""
    if not root.is_dir():
        return []
    return [path for path in sorted(root.iterdir()) if _is_ours(root, path)]


def look(folder: Path) -> Holding:
    """What is in a folder; changes nothing. Raises OSError."""
    files = {}
    for path in own_files(folder):
        with suppress(FileNotFoundError):  # joined meanwhile
            files[path] = path.stat()
    parts = [path for path in files if path.suffix == ".parquet"]
    rows = {path: _or_none(read_rows, path) for path in parts}
    return Holding(
        folder,
        _or_none(read_facts, folder),
        len(parts),
        sum(count or 0 for path, count in rows.items() if path.parent == folder),
        sum(stat.st_size for stat in files.values()),
        max((_used(path, stat.st_mtime) for path, stat in files.items()), default=0.0),
        sum(path.suffix == ".damaged" for path in files),
        tuple(path for path, count in rows.items() if count is None and path.exists()),
        sum(count or 0 for path, count in rows.items() if path.parent != folder),
    )


def verify(folder: Path) -> Iterator[str]:
    """Read everything; move what is damaged aside, and say of each file what was wrong with it.

    Raises OSError.
    """
    sweep(folder)
    described = folder / FACTS
    try:
        read_facts(folder)
    except FileNotFoundError:
        if parts_of(folder):
            yield f"{described} is missing; the next run with this model writes it again"
    except ValueError as error:
        aside = described.replace(new_path(folder, ".damaged"))
        yield (
            f"{described}: {error}; moved to {aside.name}; no score is lost, and the next run with "
            "this model writes it again"
        )
    for kind in KINDS:
        seen: set[Path] = set()
        while new := [path for path in parts_of(folder / kind.folder) if path not in seen]:
            seen.update(new)  # looked through again: somebody may join parts meanwhile
            for path in new:
                found = _damage(path, kind)
                if found is not None:
                    yield found


def clear(folder: Path, *, damaged_only: bool = False) -> tuple[int, list[Path]]:
    """Delete a fingerprint, or its damaged parts; the bytes freed, and what is not the store's.

    Raises OSError.
    """
    chosen = [p for p in own_files(folder) if not damaged_only or p.suffix == ".damaged"]
    freed = 0
    # The facts go last: as long as there are scores, somebody can tell whose they are.
    for path in sorted(chosen, key=lambda path: path.name == FACTS):
        with suppress(FileNotFoundError):  # joined by a run that is going on
            size = path.stat().st_size
            path.unlink()
            freed += size
    if damaged_only:
        return freed, []
    folders = _folders(folder)
    for empty in reversed(folders):
        with suppress(OSError):  # not empty: something else is there, or a run has written again
            empty.rmdir()
    there = [each for each in folders if each.exists()]
    left = sorted(path for each in there for path in each.iterdir() if path not in there)
    return freed, left


def own_files(folder: Path) -> list[Path]:
    """The store's files in a fingerprint's folder, sorted. Raises OSError."""
    return sorted(
        path
        for path in (path for each in _folders(folder) for path in each.iterdir())
        if (path == folder / FACTS or OUR_NAME.fullmatch(path.name))
        and path.is_file()
        and not path.is_symlink()
    )


def read_facts(folder: Path) -> Mapping[str, object]:
    """What the folder's scores are of. Raises OSError, or ValueError where it is not that."""
    facts = orjson.loads((folder / FACTS).read_bytes())
    if not isinstance(facts, dict) or fingerprint(facts) != folder.name:
        raise ValueError("its facts are not those of the fingerprint that the folder is named by")
    return facts


def _is_ours(root: Path, path: Path) -> bool:
    named = re.fullmatch(r"[0-9a-f]{32}", path.name) is not None
    # A link, or a junction of Windows, resolves to another place.
    return named and path.is_dir() and path.resolve() == root.resolve() / path.name


def _folders(folder: Path) -> list[Path]:
    """A fingerprint's folder, and that of its tokens if there is one; a link is none."""
    tokens = folder / TOKENS.folder
    ours = tokens.is_dir() and tokens.resolve() == folder.resolve() / tokens.name
    return [folder, tokens] if ours else [folder]


def _used(path: Path, changed: float) -> float:
    """When the store was used, as a file tells: facts.json is touched each time it is opened.

    The others have the time in their name; that they were joined yesterday is no use of them.
    """
    return changed if path.name == FACTS else int(path.name.partition("-")[0]) / 1e9


def _damage(path: Path, kind: Kind[Any, Any]) -> str | None:
    """Move a part aside that is damaged; None where it is sound, or gone."""
    try:
        kind.read(path)
    except (OSError, ValueError) as error:
        if not is_damage(error):
            raise
        lost = _or_none(read_rows, path)
        aside = move_aside(path)
        if aside is None:
            return None
        count = "the scores in it (how many cannot be told)" if lost is None else f"{lost} scores"
        count = count if kind is SCORES else f"the tokens of {count}"
        why = " ".join(str(error).split())
        return (
            f"{path} is damaged: {why}; moved to {aside.name}; lost: {count}; "
            "the next run that needs them scores them again"
        )
    return None


def _or_none(read: Callable[[Path], T], path: Path) -> T | None:
    try:
        return read(path)
    except (OSError, ValueError):
        return None
