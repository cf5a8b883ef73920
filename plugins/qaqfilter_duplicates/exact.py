"""copy = which of the records with one text this is, in the order of the stream: 1, 2, ...

The first stays, whatever it is worth otherwise: where records differ in quality and not in text,
put the step that tells them apart first. What is compared is a digest of 144 bits (BLAKE2b), so two
texts would have to be searched for to be taken for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from qaqfilter import Decisions, Floats, Need, Record, Table, pack, packed_names, unpack
from qaqfilter_duplicates.wording import WordingOptions, drop, wording

BYTES = 18
"""Of a digest: three numbers hold it."""


class ExactDuplicatesOptions(WordingOptions):
    """Options of `exact_duplicates`."""


class ExactDuplicates:
    """Columns: copy; copies, how many there are; duplicate_of, the first one's place, or null.

    A place counts the records of the input from 0, as the rows of scores.parquet do.
    """

    columns = ("copy", "copies", "duplicate_of")
    needs: tuple[Need, ...] = ()
    packed = packed_names("digest", BYTES)

    def __init__(self, config: ExactDuplicatesOptions) -> None:
        self.config = config

    def measure(self, record: Record) -> Mapping[str, float]:
        """The digest."""
        digest = blake2b(digest_size=BYTES)
        for text in wording(record, self.config):
            # JSON may hold half a surrogate pair. The length keeps (ab, c) and (a, bc) apart.
            part = text.encode("utf-8", "surrogatepass")
            digest.update(len(part).to_bytes(8, "little") + part)
        return pack("digest", digest.digest())

    def score(self, table: Table) -> Mapping[str, Floats]:
        """Never null but for `duplicate_of` of a first one."""
        digests = unpack(table, "digest", BYTES).view(f"V{BYTES}")[:, 0]
        # A stable sort: equal digests stay in the order of the stream.
        order = np.argsort(digests, kind="stable")
        new = np.append(True, digests[order][1:] != digests[order][:-1])
        starts = np.flatnonzero(new)
        group = np.cumsum(new) - 1
        copy, copies, first = (np.empty(len(table)) for _ in range(3))
        copy[order] = np.arange(len(table)) - starts[group] + 1
        copies[order] = np.diff(np.append(starts, len(table)))[group]
        first[order] = table.rows[order][starts[group]]
        return {
            "copy": copy,
            "copies": copies,
            "duplicate_of": np.where(copy > 1, first, np.nan),
        }

    def decide(self, table: Table) -> Decisions:
        """The first stays; the value of a reject is its `copy`, the bound 1."""
        return drop(table, "duplicate", "copy", 1.0)
