"""Digests of what is read, small enough to name the place of a change, small next to the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import groupby, islice
from operator import attrgetter
from typing import NamedTuple

from qaqfilter.types import BadRecord, Record

CHECK_EVERY = 1024
"""Records per digest."""

_part_of = attrgetter("origin.part")


class Block(NamedTuple):
    """Items of one part that were read: at most CHECK_EVERY, fewer (or none) at its end."""

    part: str
    size: int
    digest: bytes
    last: Record | BadRecord | None

    @property
    def ends_part(self) -> bool:
        return self.size < CHECK_EVERY


Check = Callable[[Block | None], None]
"""Called with every block that was read, and at the end with None; raises SourceError."""


def digested(
    found: Iterator[Record | BadRecord], block_is_through: Callable[[Block], None]
) -> Iterator[Record | BadRecord]:
    """The same items. A block is handed over after every CHECK_EVERY items of a part, and at its
    end one of what is left, over no items if need be.
    """
    for part, items in groupby(found, key=_part_of):
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
            block_is_through(Block(part, count, digest.digest(), last))
