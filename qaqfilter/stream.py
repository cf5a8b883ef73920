"""The run's input, read several times: counted and checked once, verified on every later read."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import compress, islice

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
    first_bad: str | None = None
    duplicate_ids: frozenset[str] = frozenset()
    _digests: list[bytes] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """blake2b-128, in hex, over every record read by `survey`."""
        return blake2b(b"".join(self._digests), digest_size=16).hexdigest()

    def survey(
        self, quarantine: Callable[[BadRecord], None], progress: Callable[[int, int], None]
    ) -> None:
        """The first read: count, digest, set bad records aside, find ids that stand twice.

        Bad records are counted, and handed to `quarantine` unless the recipe says to skip them.

        Raises TooManyBadRecords before any model is loaded.
        """
        hashes = array("q")

        def block_is_through(digest: bytes, count: int, last: Record | BadRecord | None) -> None:
            self._digests.append(digest)
            progress(count, 0)

        for item in self._items(block_is_through):
            if isinstance(item, Record):
                hashes.append(hash(item.id))
            else:
                self.bad += 1
                self.first_bad = self.first_bad or f"{item.origin}: {item.error}"
                if self.keys.on_error != "skip":
                    quarantine(item)
                self._refuse_bad(item)
        self.records = len(hashes)
        read = self.records + self.bad
        if self.keys.max_errors < 1 and self.bad > self.keys.max_errors * read:
            raise TooManyBadRecords(
                f"{self.bad} of {read} records are bad, more than input.max_errors = "
                f"{self.keys.max_errors:g} allows; the first is {self.first_bad}"
            )
        self._find_duplicates(np.frombuffer(hashes, dtype=np.int64))

    def _refuse_bad(self, item: BadRecord) -> None:
        if self.keys.on_error == "fail":
            raise TooManyBadRecords(
                f"{item.origin}: {item.error} (input.on_error is fail; quarantine sets it aside)"
            )
        if 1 <= self.keys.max_errors < self.bad:
            raise TooManyBadRecords(
                f"{item.origin}: bad record number {self.bad}, more than input.max_errors = "
                f"{self.keys.max_errors:g} allows: {item.error}"
            )

    def _find_duplicates(self, hashes: Ints) -> None:
        # Python's own hash will do: it holds for this process, and the ids are compared below.
        hashes.sort()
        twice = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if twice:
            seen: dict[str, int] = {}
            for record in self.read():
                if hash(record.id) in twice:
                    seen[record.id] = seen.get(record.id, 0) + 1
            self.duplicate_ids = frozenset(id_ for id_, count in seen.items() if count > 1)

    def read(self) -> Iterator[Record]:
        """Every good record, in order. Raises SourceError, naming the file, if anything changed."""
        expected = iter(self._digests)

        def block_is_through(digest: bytes, count: int, last: Record | BadRecord | None) -> None:
            if digest != next(expected, None):
                raise _changed(last)

        row = 0
        for item in self._items(block_is_through):
            if isinstance(item, Record):
                if row == self.records:  # nobody has room for one more, so it is not handed out
                    raise _changed(item)
                yield item
                row += 1

    def windows(self, rows: Ints, size: int) -> Iterator[Window]:
        """Windows of `size` consecutive records among the given ascending rows."""
        wanted = np.zeros(self.records, dtype=np.bool_)
        wanted[rows] = True
        # `compress` asks for a record before it looks whether one is wanted: so what follows the
        # last wanted one is read too, and its digests are checked.
        found = compress(self.read(), wanted.tobytes())
        index = 0
        while records := tuple(islice(found, size)):
            yield Window(index, rows[index * size :][: len(records)], records)
            index += 1

    def _items(self, block_is_through: _BlockIsThrough) -> Iterator[Record | BadRecord]:
        """Read the source; hand over a digest after every CHECK_EVERY items, and of what is left.

        One of these comes at the end in any case, over no items if need be.
        """
        items = islice(self.source.read(), self.limit)
        last: Record | BadRecord | None = None
        count = CHECK_EVERY
        while count == CHECK_EVERY:
            count, digest = 0, blake2b(digest_size=16)
            add = digest.update
            for count, last in enumerate(islice(items, CHECK_EVERY), start=1):  # noqa: B007
                row = last.row
                add(len(row).to_bytes(8, "big"))
                add(row)
                yield last
            block_is_through(digest.digest(), count, last)


_BlockIsThrough = Callable[[bytes, int, Record | BadRecord | None], None]
"""Called with a block's digest, how many items are in it, and the last item that was read."""


def _changed(item: Record | BadRecord | None) -> SourceError:
    if item is None:
        return SourceError("the input changed while the run read it: it is empty now")
    return SourceError(
        f"{item.origin.part}: the input changed while the run read it (in the "
        f"{CHECK_EVERY} records up to {item.origin}): run again"
    )
