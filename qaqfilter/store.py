"""The score store: likelihoods by the key of their tokens, in append-only parquet parts.

    <root>/<fingerprint>/facts.json
    <root>/<fingerprint>/<time>-<random>.parquet    key, logprob, tokens, status
    <root>/<fingerprint>/tokens/...                 token by token, where asked for

Nobody changes a part, and everybody writes their own: there is no lock, and any number of runs may
use one folder. Where a key stands in several parts, the lowest sum wins, and a number beats a null:
a rule that holds whatever the order of the parts, before and after they are joined.

Parts may be joined at any time, by anybody (`compaction.py`). Who then misses one looks into the
folder again: the joined part is always there before those it was made from are gone.

Of every key half is held in memory, with the place where the score stands (16 bytes a score);
scores themselves are read part by part as they are asked for. Parts are in the order of the
stream, so a window finds its scores in one or two of them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Generic, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from qaqfilter.compaction import SCORES, sweep, tidy
from qaqfilter.errors import StoreError
from qaqfilter.identity import KEY_BYTES, Score, fingerprint
from qaqfilter.part_kinds import Kind, P, V
from qaqfilter.parts import (
    Part,
    new_path,
    parts_of,
    read_keys,
    try_read,
    written_whole,
)
from qaqfilter.token_parts import TOKENS, TokenPart
from qaqfilter.tokens import TokenValues

FLUSH_SECONDS = 5.0
"""Scores younger than this may be lost to a kill."""
OPEN_PARTS = 8
"""Parts whose scores are held at a time."""
MOST_RUNS = 16
"""Sorted runs of the index before they are merged into one."""


class _Run(NamedTuple):
    """A sorted piece of the index: the first half of each key, and part << 32 | row."""

    heads: NDArray[np.uint64]
    places: NDArray[np.uint64]


class KeyedStore(Generic[P, V]):
    """What parts of one kind hold. `find` sees what was added before, flushed or not."""

    def __init__(self, folder: Path, kind: Kind[P, V]) -> None:
        self.folder = folder
        self._kind = kind
        self._paths: list[Path] = []
        self._lost: set[int] = set()
        """Numbers of parts that could not be read, as long as the index names them."""
        self._runs: list[_Run] = []
        self._open: OrderedDict[int, P] = OrderedDict()
        self._pending: dict[bytes, V] = {}
        self._flushed = time.monotonic()
        self._renew()

    def __len__(self) -> int:
        """Keys in the parts and not yet flushed; one that stands twice counts twice."""
        return sum(len(run.heads) for run in self._runs) + len(self._pending)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, V]:
        """What is known of these keys."""
        found = {key: self._pending[key] for key in keys if key in self._pending}
        wanted = [key for key in dict.fromkeys(keys) if key not in found]
        with _told(self.folder):
            stored = self._search(wanted)
            while self._lost:
                self._renew()
                stored = self._search(wanted)
        return found | stored

    def _search(self, wanted: Sequence[bytes]) -> dict[bytes, V]:
        """What the index leads to; what it should lead to and does not is `_lost` afterwards."""
        found: dict[bytes, V] = {}
        if not wanted or not self._runs:
            return found
        raw = np.frombuffer(b"".join(wanted), dtype=np.uint8).reshape(-1, KEY_BYTES)
        heads = _heads(raw)
        places: list[tuple[int, int]] = []
        for run in self._runs:
            first = np.searchsorted(run.heads, heads, side="left")
            last = np.searchsorted(run.heads, heads, side="right")
            for index in np.flatnonzero(first < last).tolist():
                here = run.places[first[index] : last[index]]
                places += [(place, index) for place in here.tolist()]
        for place, index in sorted(places):  # each part is opened once
            value, key = self._value(place, wanted[index]), wanted[index]
            if value is not None:
                found[key] = self._kind.better(found[key], value) if key in found else value
        return found

    def add(self, values: Mapping[bytes, V]) -> None:
        """Remember what is new; written to a part when the last one is FLUSH_SECONDS old."""
        self._pending |= values
        if self._pending and time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is new as a part."""
        if self._pending:
            path = new_path(self.folder)
            with _told(self.folder):
                with written_whole(path) as file:
                    self._kind.write(file, self._kind.of(self._pending))
                self._pending = {}
                self._learn(path)
        self._flushed = time.monotonic()

    def _renew(self) -> None:
        """Learn the parts that are new, and forget those that are gone."""
        while new := sorted(set(listed := parts_of(self.folder)).difference(self._paths)):
            for path in new:
                self._learn(path)
        there = set(listed)
        self._lost.update(n for n, path in enumerate(self._paths) if path not in there)
        if self._lost:
            lost = np.array(sorted(self._lost), dtype=np.uint64)
            kept = [~np.isin(run.places >> np.uint64(32), lost) for run in self._runs]
            self._runs = [
                _Run(run.heads[keep], run.places[keep])
                for run, keep in zip(self._runs, kept, strict=True)
            ]
            self._lost.clear()

    def _learn(self, path: Path) -> None:
        """Take a part into the index; where it is joined already, `find` will look again."""
        number = len(self._paths)
        self._paths.append(path)
        keys = try_read(read_keys, path)
        if keys is None:
            self._lost.add(number)
            return
        heads = _heads(keys)
        order = np.argsort(heads, kind="stable")
        place = np.uint64(number << 32) + order.astype(np.uint64)
        self._runs.append(_Run(heads[order], place))
        if len(self._runs) > MOST_RUNS:
            heads = np.concatenate([run.heads for run in self._runs])
            places = np.concatenate([run.places for run in self._runs])
            order = np.argsort(heads, kind="stable")
            self._runs = [_Run(heads[order], places[order])]

    def _value(self, place: int, key: bytes) -> V | None:
        """What stands at a place, if all of the key is the same."""
        part, row = self._part(place >> 32), place & 0xFFFFFFFF
        if part is None or part.keys[row].tobytes() != key:
            return None
        return self._kind.value(part, row)

    def _part(self, number: int) -> P | None:
        if number in self._lost:
            return None
        part = self._open.get(number)
        if part is None:
            part = try_read(self._kind.read, self._paths[number])
        if part is None:
            self._lost.add(number)
            return None
        self._open[number] = part
        self._open.move_to_end(number)
        if len(self._open) > OPEN_PARTS:
            self._open.popitem(last=False)
        return part


class ScoreStore(KeyedStore[Part, Score]):
    """The scores of one fingerprint, and their tokens, which nobody reads unless asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SCORES)

    @cached_property
    def tokens(self) -> KeyedStore[TokenPart, TokenValues]:
        """The log-probabilities of the tokens of some scores."""
        return KeyedStore(self.folder / TOKENS.folder, TOKENS)

    def flush(self) -> None:
        """Write what is new as a part."""
        super().flush()
        if "tokens" in self.__dict__:
            self.tokens.flush()


@contextmanager
def open_store(root: Path | None, facts: Mapping[str, object]) -> Iterator[ScoreStore | None]:
    """The store of a backend's fingerprint below `root`; flushed on leaving, whatever happened.

    None for none. The time of facts.json says when it was last opened. Raises StoreError where it
    cannot be written.
    """
    if root is None:
        yield None
        return
    folder = root / fingerprint(facts)
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        described = folder / "facts.json"
        if not described.exists():
            with written_whole(described) as file:
                file.write(orjson.dumps(dict(facts), option=orjson.OPT_INDENT_2))
        with suppress(PermissionError):  # another user's, in a shared folder
            described.touch()
        sweep(folder)
        store = ScoreStore(folder)
    try:
        yield store
    finally:
        store.flush()
    tidy(folder)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the score store {folder} cannot be used: {error}; name another folder with "
            "run.store, or none with run.store: false"
        ) from error


def _heads(keys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]
