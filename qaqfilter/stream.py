"""The run's input, read several times: counted and checked once, verified on every later read."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path

import numpy as np

from qaqfilter.blame import NOBODY, Plugin
from qaqfilter.digesting import CHECK_EVERY, Block, Check, digested
from qaqfilter.errors import SourceError, TooManyBadRecords
from qaqfilter.input_parts import InputPart, all_set_aside, digest_of, digest_of_row
from qaqfilter.protocols import ReadsParts, Source
from qaqfilter.recipe_keys import InputKeys
from qaqfilter.types import BadRecord, Ints, Record, Window
from qaqfilter.units import Units


@dataclass(slots=True)
class RecordStream:
    """Good records of a source with their row numbers (0, 1, ... over good records only).

    `survey` counts them and their `units`; a stream whose `parts` are known from an earlier survey
    needs none. `spool` is where the copies are of what can be read only once. `set_aside` are
    records that are bad for what they did to who scored them: why, by their digest.
    """

    source: Source
    keys: InputKeys
    limit: int | None = None
    parts: Sequence[InputPart] = ()
    first_bad: str | None = None
    duplicate_ids: frozenset[str] = frozenset()
    units: Units | None = None
    plugin: Plugin = NOBODY
    spool: Path | None = None
    set_aside: Mapping[str, str] = field(default_factory=dict)
    _blocks: list[bytes] | None = None
    _sizes: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.set_aside = dict(self.set_aside) | all_set_aside(self.parts)
        self._count()

    def _count(self) -> None:
        parts = self.parts
        self._sizes = sum(part.records for part in parts), sum(part.bad for part in parts)

    @property
    def records(self) -> int:
        """Good records."""
        return self._sizes[0]

    @property
    def bad(self) -> int:
        """Bad records."""
        return self._sizes[1]

    def survey(
        self, quarantine: Callable[[BadRecord], None], progress: Callable[[int, int], None]
    ) -> None:
        """The first read: count, digest, set bad records aside, find ids that stand twice.

        Bad records are counted, and handed to `quarantine` unless the recipe says to skip them.

        Raises TooManyBadRecords before any model is loaded.
        """
        hashes, units = array("q"), array("i")
        blocks: list[bytes] = []
        parts: list[InputPart] = []
        bad = good_before = bad_before = first_block = 0
        aside: dict[str, str] = {}

        def block_is_through(block: Block) -> None:
            nonlocal good_before, bad_before, first_block, aside
            blocks.append(block.digest)
            progress(block.size, 0)
            if block.ends_part:
                good, worse = len(hashes) - good_before, bad - bad_before
                digest = digest_of(blocks[first_block:])
                parts.append(InputPart(block.part, good, worse, digest, aside))
                good_before, bad_before, first_block, aside = len(hashes), bad, len(blocks), {}

        for item in self._items(block_is_through):
            if isinstance(item, Record):
                hashes.append(hash(item.id))
                units.append(item.units)
            else:
                bad += 1
                if (row := self._aside(item)) is not None:
                    aside[row] = self.set_aside[row]
                self.first_bad = self.first_bad or f"{item.origin}: {item.error}"
                if self.keys.on_error != "skip":
                    quarantine(item)
                self._refuse_bad(item, bad)
        self.parts, self._blocks = tuple(parts), blocks
        self.units = Units.of_counts(np.frombuffer(units, dtype=np.int32))
        self._count()
        read = self.records + self.bad
        if self.keys.max_errors < 1 and self.bad > self.keys.max_errors * read:
            raise TooManyBadRecords(
                f"{self.bad} of {read} records are bad, more than input.max_errors = "
                f"{self.keys.max_errors:g} allows; the first is {self.first_bad}"
            )
        self._find_duplicates(np.frombuffer(hashes, dtype=np.int64))

    def _refuse_bad(self, item: BadRecord, number: int) -> None:
        if self.keys.on_error == "fail":
            raise TooManyBadRecords(
                f"{item.origin}: {item.error} (input.on_error is fail; quarantine sets it aside)"
            )
        if 1 <= self.keys.max_errors < number:
            raise TooManyBadRecords(
                f"{item.origin}: bad record number {number}, more than input.max_errors = "
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
        check = self._by_part(self.parts) if self._blocks is None else self._by_block()
        row = 0
        for item in self._items(check):
            if isinstance(item, Record):
                if row == self.records:  # nobody has room for one more, so it is not handed out
                    raise self._changed(item.origin.part, item)
                yield item
                row += 1
        check(None)

    def read_from(self, part: int) -> Iterator[Record]:
        """Every good record of a part and those behind it, by the part's number; checked by part.

        The source ReadsParts, or all of it is read from its beginning.
        """
        if not isinstance(self.source, ReadsParts):
            before = sum(one.records for one in self.parts[:part])
            yield from islice(self.read(), before, None)
            return
        check = self._by_part(self.parts[part:])
        for one in self.parts[part:]:
            size = None if self.limit is None else one.records + one.bad
            found = islice(self._watched(self.source.read_part(one.part)), size)
            for item in digested(found, check):
                if isinstance(item, Record):
                    yield item
        check(None)

    def _by_block(self) -> Check:
        """Compare with what the survey of this run saw: stops near the place of the change."""
        expected = iter(self._blocks or ())

        def check(block: Block | None) -> None:
            if next(expected, None) != (block.digest if block else None):
                part, last = (block.part, block.last) if block else (self.parts[-1].part, None)
                raise self._changed(part, last)

        return check

    def _by_part(self, parts: Sequence[InputPart]) -> Check:
        """Compare with what an earlier survey wrote down of each part."""
        expected = iter(parts)
        blocks: list[bytes] = []

        def check(block: Block | None) -> None:
            found = None
            if block is not None:
                blocks.append(block.digest)
                if not block.ends_part:
                    return
                found = block.part, digest_of(blocks)
                blocks.clear()
            part = next(expected, None)
            if found != ((part.part, part.digest) if part else None):
                raise self._changed((part or block or self.parts[-1]).part, None)

        return check

    def _changed(self, part: str, item: Record | BadRecord | None) -> SourceError:
        if self._blocks is None:
            mend = "since its records were scored; `qaqfilter run` scores what is new"
        elif item is None:
            mend = "while the run read it: run again"
        else:
            mend = (
                f"while the run read it (in the {CHECK_EVERY} records up to {item.origin}): run "
                "again"
            )
        return SourceError(f"{part}: the input changed {mend}")

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

    def _watched(self, items: Iterator[Record | BadRecord]) -> Iterator[Record | BadRecord]:
        with self.plugin.blamed("read()"):
            for item in items:
                if not isinstance(item, Record | BadRecord):
                    raise TypeError(f"it yielded {item!r:.60}, neither Record nor BadRecord")
                row = self._aside(item)
                yield item if row is None else BadRecord(self.set_aside[row], item.row, item.origin)

    def _aside(self, item: Record | BadRecord) -> str | None:
        """The digest of what is to be set aside; None for anything else."""
        row = digest_of_row(item.row) if self.set_aside else None
        return row if row in self.set_aside else None

    def _items(self, block_is_through: Callable[[Block], None]) -> Iterator[Record | BadRecord]:
        """Read the whole source."""
        with self.plugin.blamed("read()"):
            items = self.source.read()
        return digested(islice(self._watched(items), self.limit), block_is_through)
