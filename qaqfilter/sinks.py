"""What a plugin's sink must be able to do, and what it may. Inherit nothing.

How a sink is run: finishing.py; files for it, compressed or in shards: output_files.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from qaqfilter.types import Record, Rejection

Numbers = Mapping[str, Mapping[str, float | None]]
"""The numbers of a record: by model and likelihood (nats per token), and by step and column."""


class Sink(Protocol):
    """Where records go. Files are written below the folder that the sink was created with."""

    def keep(self, record: Record) -> None:
        """Write a kept record, as it came in, in call order."""
        ...

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Write a rejected record and the reason."""
        ...

    def close(self) -> None:
        """Flush and close; called once, also after an error."""
        ...


@runtime_checkable
class Annotates(Protocol):
    """A sink that can write a record's numbers as one more field of it (`output.annotate`).

    The loader of recipes looks for these methods at what `Component.create` is: the sink's class,
    or a function that is annotated to return it.
    """

    def annotate(self, field: str, names: Mapping[str, Sequence[str]]) -> None:
        """Called once, before all else: the field's name, and the names of the numbers in it."""
        ...

    def keep_with(self, record: Record, numbers: Numbers) -> None:
        """Called in place of `keep`. No record has a field of that name."""
        ...
