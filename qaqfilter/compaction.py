"""Small parts of the score store joined into large ones, while others read and write.

A joined part is written first, and those it was made from are deleted afterwards: killed between
the two, it leaves scores that stand twice, which moves no number. Nobody is locked out. Readers
that miss a part look into the folder again; of two who join the same parts the second gives up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from qaqfilter.identity import Score
from qaqfilter.part_kinds import Kind
from qaqfilter.parts import (
    OUR_NAME,
    Part,
    new_path,
    parts_of,
    read_part,
    read_rows,
    try_read,
    write_part,
    written_whole,
)
from qaqfilter.token_parts import TOKENS
from qaqfilter.types import LikelihoodColumn, Status

log = logging.getLogger(__name__)

TARGET = 250_000
"""Scores of a joined part, about 7 MB; a part of half as many stays as it is."""
MANY = 128
"""Small parts that are left alone by `tidy`."""
AT_ONCE = 512
"""Most parts that `tidy` joins: two seconds' work."""
LEFT_OVER_SECONDS = 3600
"""Age of a `.partial` whose writer must be dead."""


def tidy(folder: Path) -> None:
    """Join the parts of a folder if there are many; a failure is only told.

    Called where a run ends well. The parts of a run took it five seconds each, and joining takes
    four milliseconds each: nobody waits who has not waited a thousand times longer already. At the
    beginning somebody waits for the first number, perhaps only to try another threshold; after
    Ctrl-C or an error they want to be out.
    """
    try:
        for kind in KINDS:
            if len(parts_of(folder / kind.folder)) > MANY:
                small = _small(folder, kind)
                if len(small) > MANY:
                    _join_all(small[:AT_ONCE], kind)
    except OSError as error:
        log.warning("%s: its parts could not be joined (%s); no score is lost", folder, error)


def compact(folder: Path) -> None:
    """Join all small parts of a folder, and remove what killed writers left. Raises OSError."""
    sweep(folder)
    for kind in KINDS:
        _join_all(_small(folder, kind), kind)


def sweep(folder: Path) -> None:
    """Remove `.partial` files that nobody can still be writing."""
    for path in (p for kind in KINDS for p in (folder / kind.folder).glob("*.partial")):
        with suppress(OSError):  # gone already, or somebody else's: not worth a word
            old = time.time() - path.stat().st_mtime > LEFT_OVER_SECONDS
            if old and OUR_NAME.fullmatch(path.name):
                path.unlink()


def better(one: Score, other: Score) -> Score:
    """Of two scores of one key the one that counts: the lowest sum, a number before a null.

    No two differ without one being better, so the order in which they are met says nothing.
    """
    return min(one, other, key=_rank)


def _rank(score: Score) -> tuple[bool, float, int, int]:
    null = score.status != Status.OK
    return null, 0.0 if null else score.logprob, score.status, score.tokens


def without_duplicates(parts: Iterable[Part]) -> Part:
    """All scores of some parts, in their order; of each key the one that counts (`better`)."""
    every = list(parts)
    keys = np.concatenate([part.keys for part in every])
    logprob = np.concatenate([part.scores.logprob for part in every])
    tokens = np.concatenate([part.scores.tokens for part in every])
    status = np.concatenate([part.scores.status for part in every])
    null = status != Status.OK
    head, tail = np.ascontiguousarray(keys).view(np.uint64).T
    # The first is sorted by last: by key, and within a key as `_rank` has it.
    order = np.lexsort((tokens, status, np.where(null, 0.0, logprob), null, tail, head))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(head[order]) != 0) | (np.diff(tail[order]) != 0)
    rows = np.sort(order[first])
    return Part(keys[rows], LikelihoodColumn(logprob[rows], tokens[rows], status[rows]))


class ScoreParts:
    """The kind of the parts with the sums; `weight` counts scores."""

    folder = "."

    @property
    def target(self) -> int:
        """Scores of a joined part."""
        return TARGET

    def of(self, values: Mapping[bytes, Score]) -> Part:
        """At least one."""
        return Part.of(values)

    def write(self, file: BinaryIO, part: Part) -> None:
        """Raises OSError."""
        write_part(file, part)

    def read(self, path: Path) -> Part:
        """Raises OSError or ValueError for a damaged file."""
        return read_part(path)

    def value(self, part: Part, row: int) -> Score:
        """One score."""
        scores = part.scores
        return Score(float(scores.logprob[row]), int(scores.tokens[row]), int(scores.status[row]))

    def better(self, one: Score, other: Score) -> Score:
        """See the function."""
        return better(one, other)

    def without_duplicates(self, parts: Iterable[Part]) -> Part:
        """See the function."""
        return without_duplicates(parts)

    def weight(self, path: Path) -> int:
        """Scores of a part, from its footer."""
        return read_rows(path)


SCORES = ScoreParts()
KINDS: tuple[Kind[Any, Any], ...] = (SCORES, TOKENS)


def _small(folder: Path, kind: Kind[Any, Any]) -> list[tuple[Path, int]]:
    """The parts that may be joined, with their weight."""
    found = ((path, try_read(kind.weight, path)) for path in parts_of(folder / kind.folder))
    return [(path, n) for path, n in found if n is not None and n < kind.target // 2]


def _join_all(small: Iterable[tuple[Path, int]], kind: Kind[Any, Any]) -> None:
    for group in _groups(small, kind.target):
        _join(group, kind)


def _groups(small: Iterable[tuple[Path, int]], target: int) -> Iterator[list[Path]]:
    """Neighbours that come to `target`: no more than a group's are in memory at a time."""
    group: list[Path] = []
    weight = 0
    for path, count in small:
        group.append(path)
        weight += count
        if weight >= target:
            yield group
            group, weight = [], 0
    yield group


class _OvertakenError(Exception):
    """Somebody else has joined these parts."""


def _join(group: Iterable[Path], kind: Kind[Any, Any]) -> None:
    found = ((path, try_read(kind.read, path)) for path in group)
    parts = {path: part for path, part in found if part is not None}
    if len(parts) < 2:
        return
    first = min(parts)
    joined = new_path(first.parent, began=first.name.partition("-")[0])
    try:
        with written_whole(joined) as file:
            kind.write(file, kind.without_duplicates(parts.values()))
            # Two joined parts with the same scores would be right, but large, and stay for ever.
            if not all(path.exists() for path in parts):
                raise _OvertakenError
    except _OvertakenError:
        return
    for path in parts:
        with suppress(PermissionError):  # Windows, while somebody reads it: the next time
            path.unlink(missing_ok=True)
