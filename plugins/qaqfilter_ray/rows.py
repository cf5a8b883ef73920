"""What goes between the parts of the pipeline: a block of one row for each window.

window    the window, pickled; tokenised windows take its place
answers   what the models said so far, in their order, each pickled
failed    why the run must end, pickled; then nothing else is looked at any more
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from qaqfilter import QaqfilterError, RecipeError

SCHEMA = pa.schema(
    [
        ("window", pa.large_binary()),
        ("prepared", pa.large_binary()),
        ("answers", pa.list_(pa.large_binary())),
        ("failed", pa.large_binary()),
    ]
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A QaqfilterError on its way: those that are made of more than a text do not pickle."""

    kind: type[QaqfilterError]
    text: str

    @classmethod
    def of(cls, error: QaqfilterError) -> Failure:
        """An error, to be raised again elsewhere."""
        return cls(type(error), str(error))

    def error(self) -> QaqfilterError:
        """The error."""
        if issubclass(self.kind, RecipeError):
            return self.kind([self.text])
        return self.kind(self.text)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the pipeline; its window, prepared window and answers are pickled."""

    window: bytes = b""
    prepared: bytes | None = None
    answers: list[bytes] = field(default_factory=list)
    failed: Failure | None = None

    @classmethod
    def of(cls, block: pa.Table) -> Row:
        """The one row of a block."""
        (row,) = block.to_pylist()
        failed = row["failed"]
        return cls(
            row["window"],
            row["prepared"],
            row["answers"],
            None if failed is None else pickle.loads(failed),
        )

    def block(self) -> pa.Table:
        """The row as a block."""
        failed = None if self.failed is None else pickle.dumps(self.failed)
        row: dict[str, Any] = {
            "window": self.window,
            "prepared": self.prepared,
            "answers": self.answers,
            "failed": failed,
        }
        return pa.Table.from_pylist([row], schema=SCHEMA)
