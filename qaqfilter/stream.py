"""The run's input, read several times: counted and checked once, verified on every later read."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from qaqfilter.errors import SourceError, TooManyBadRecords
from qaqfilter.protocols import Source
from qaqfilter.recipe_keys import InputKeys
from qaqfilter.types import BadRecord, Ints, Record, Window

CHECK_EVERY = 1024
"""Records per digest: small enough to name the place of a change, small next to the data."""


@dataclass(slots=True)
class RecordStream:
    """Good records of a source with their row numbers (0, 1, ... over good records only)."""

    source: Source
    keys: InputKeys
    limit: int | None = None
    records: int = 0
    bad: int = 0
    duplicate_ids: frozenset[str] = frozenset()
    _digests: list[bytes] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """blake2b-128, in hex, over every record read by `survey`."""
        return hashlib.blake2b(b"".join(self._digests), digest_size=16).hexdigest()

    def survey(
        self, quarantine: Callable[[BadRecord], None], progress: Callable[[int, int], None]
    ) -> None:
        """The first read: count, digest, set bad records aside, find ids that stand twice.

        Raises TooManyBadRecords before any model is loaded.
        """
        ids = array("Q")
        checker = _Digester()
        for item in islice(self.source.read(), self.limit):
            if isinstance(item, BadRecord):
                self.bad += 1
                quarantine(item)
                self._refuse_bad(item)
            else:
                self.records += 1
                ids.append(_hash(item.id))
            checker.add(item)
            if checker.count % CHECK_EVERY == 0:
                progress(CHECK_EVERY, 0)
        progress(checker.count % CHECK_EVERY, 0)
        self._digests = checker.finish()
        read = self.records + self.bad
        if self.keys.max_errors < 1 and self.bad > self.keys.max_errors * read:
            raise TooManyBadRecords(
                f"{self.bad} of {read} records are bad, more than input.max_errors = "
                f"{self.keys.max_errors:g} allows; they are in quarantine.jsonl"
            )
        self._find_duplicates(np.frombuffer(ids, dtype=np.uint64))

    def _refuse_bad(self, item: BadRecord) -> None:
        if self.keys.on_error == "stop":
            raise TooManyBadRecords(
                f"{item.origin}: {item.error} (input.on_error is stop; quarantine sets it aside)"
            )
        if 1 <= self.keys.max_errors < self.bad:
            raise TooManyBadRecords(
                f"{item.origin}: bad record number {self.bad}, more than input.max_errors = "
                f"{self.keys.max_errors:g} allows: {item.error}"
            )

    def _find_duplicates(self, hashes: np.typing.NDArray[np.uint64]) -> None:
        values, counts = np.unique(hashes, return_counts=True)
        twice = set(values[counts > 1].tolist())
        if twice:
            seen: dict[str, int] = {}
            for _, record in self.read():
                if _hash(record.id) in twice:
                    seen[record.id] = seen.get(record.id, 0) + 1
            self.duplicate_ids = frozenset(id_ for id_, count in seen.items() if count > 1)

    def read(self) -> Iterator[tuple[int, Record]]:
        """Yield (row, record). Raises SourceError, naming the file, if anything changed."""
        row = 0
        checker = _Digester()
        for item in islice(self.source.read(), self.limit):
            checker.add(item)
            block, rest = divmod(checker.count, CHECK_EVERY)
            grown = checker.count > self.records + self.bad
            if grown or (rest == 0 and checker.digests[-1] != self._digests[block - 1]):
                raise _changed(item)
            if isinstance(item, Record):
                yield row, item
                row += 1
        if checker.finish() != self._digests:
            raise SourceError("the input changed while the run read it: run again")

    def selected(self, rows: Ints) -> Iterator[tuple[int, Record]]:
        """Yield (row, record) for the given ascending rows."""
        wanted = iter(rows.tolist())
        target = next(wanted, None)
        for row, record in self.read():
            if row == target:
                yield row, record
                target = next(wanted, None)

    def windows(self, rows: Ints, size: int) -> Iterator[Window]:
        """Windows of `size` consecutive records among the given ascending rows."""
        found = self.selected(rows)
        index = 0
        while part := list(islice(found, size)):
            numbers = np.array([row for row, _ in part], dtype=np.int64)
            yield Window(index, numbers, tuple(record for _, record in part))
            index += 1


class _Digester:
    """A digest over every CHECK_EVERY items, and one over what is left."""

    def __init__(self) -> None:
        self.count = 0
        self.digests: list[bytes] = []
        self._current = hashlib.blake2b(digest_size=16)

    def add(self, item: Record | BadRecord) -> None:
        self._current.update(len(item.row).to_bytes(8, "big"))
        self._current.update(item.row)
        self.count += 1
        if self.count % CHECK_EVERY == 0:
            self.digests.append(self._current.digest())
            self._current = hashlib.blake2b(digest_size=16)

    def finish(self) -> list[bytes]:
        return [*self.digests, self._current.digest()]


def _changed(item: Record | BadRecord) -> SourceError:
    return SourceError(
        f"{item.origin.part}: the input changed while the run read it (in the "
        f"{CHECK_EVERY} records up to {item.origin}): run again"
    )


def _hash(id_: str) -> int:
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "big")
