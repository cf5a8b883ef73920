"""What a page of a run must be able to do: a file that people read, in every run directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from qaqfilter.finished import Finished
from qaqfilter.types import Record

MOST_TEXT = 20_000
"""Characters of a query or an answer that pages get to see."""


class Page(Protocol):
    """Shows a finished run. Text streams past once, so a page says beforehand whose it shows."""

    def wanted(self, run: Finished) -> Iterable[int]:
        """The rows whose records the page shows: few, since they are held in memory."""
        ...

    def html(self, run: Finished, records: Mapping[int, Record]) -> bytes:
        """The file, self-contained; `records` are those that were wanted, by row.

        Of a long query or answer there are the first MOST_TEXT characters, and `row` is empty.
        What is in records comes from anybody: nothing of it may act as markup or script.
        """
        ...
