"""length = count of characters, words or lines of the query, the answer, or both together.

No model is needed. Characters are Unicode code points; words are what white space separates;
lines are what line breaks separate, the last of which may be missing. Empty text has length 0.
``both`` is the sum of the two sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import Literal

from pydantic import Field

from qaqfilter import Options, Record

PIECES: Mapping[str, Callable[[str], Sized]] = {
    "characters": lambda text: text,
    "words": str.split,
    "lines": str.splitlines,
}


class LengthOptions(Options):
    """Options of `length`."""

    of: Literal["query", "answer", "both"] = Field("both", description="Which text to measure.")
    unit: Literal["characters", "words", "lines"] = Field(
        "characters", description="What to count."
    )


class Length:
    """Column: length, in the chosen unit."""

    columns = ("length",)

    def __init__(self, config: LengthOptions) -> None:
        self.sides = ("query", "answer") if config.of == "both" else (config.of,)
        self.pieces = PIECES[config.unit]

    def measure(self, record: Record) -> Mapping[str, float]:
        """Never null. Of a conversation, all exchanges that are scored count."""
        texts = (getattr(one, side) for one in record.exchanges() for side in self.sides)
        return {"length": float(sum(len(self.pieces(text)) for text in texts))}
