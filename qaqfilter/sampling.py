"""A sample of a source's records, held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from qaqfilter.stream import RecordStream
from qaqfilter.types import BadRecord, Record


class Held:
    """A source of records that are in memory."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def read(self) -> Iterator[Record | BadRecord]:
        yield from self._records


def surveyed(stream: RecordStream) -> RecordStream:
    """The stream after its first read; bad records are counted and go nowhere.

    Raises TooManyBadRecords and SourceError.
    """
    stream.survey(lambda bad: None, lambda records, tokens: None)
    return stream


def drawn(stream: RecordStream, most: int, seed: int) -> list[Record]:
    """Drawn without replacement, in the order of the stream: the same seed, the same records.

    `stream` has been surveyed.
    """
    draw = np.random.default_rng(seed)
    rows = draw.choice(stream.records, min(most, stream.records), replace=False)
    windows = stream.windows(np.sort(rows).astype(np.int64), most)
    return [record for window in islice(windows, 1) for record in window.records]
