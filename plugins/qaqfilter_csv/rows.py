"""A row of a CSV file: its fields, and the bytes they came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """The first row of a file. `raw` is without byte order mark, its line end included."""

    names: tuple[str, ...]
    raw: bytes
    delimiter: str
    quotechar: str

    def same_as(self, other: Head) -> bool:
        """Whether rows of both may stand in one file."""
        mine = self.names, self.delimiter, self.quotechar
        return mine == (other.names, other.delimiter, other.quotechar)


class CsvRow(dict[str, str]):
    """Text by column. `raw` is the row's bytes in the file, line breaks in quotes included."""

    __slots__ = ("head", "raw")

    def __init__(self, values: dict[str, str], head: Head, raw: bytes) -> None:
        super().__init__(values)
        self.head = head
        self.raw = raw
