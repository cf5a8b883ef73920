"""bits_per_byte = -logprob / (ln 2 * bytes), the bytes of the text in UTF-8.

Nats per token of two models cannot be compared where their tokenizers differ: the one with the
longer tokens has more to say in each. Bytes are the same for all, so this number can: low means
that the model foresees the text. ``of: both`` is that of the query followed by the answer,
-(logprob(Q) + logprob(A|Q)) / (ln 2 * bytes of both).

Of a conversation whose exchanges are scored one by one it is that of all exchanges together,
sums over sums; the step's `combine` has nothing to combine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import ModelName, Need, Options, Record, Table

SIDES = {
    "query": ("query",),
    "answer": ("answer",),
    "answer_given_query": ("answer",),
    "query_given_answer": ("query",),
    "both": ("query", "answer"),
}


class BitsPerByteOptions(Options):
    """Options of `bits_per_byte`."""

    model: ModelName
    of: Literal["answer", "query", "answer_given_query", "query_given_answer", "both"] = Field(
        "answer", description="The likelihood to take; both: the query, then the answer given it."
    )


class BitsPerByte:
    """Columns: bits_per_byte (bits a byte); beside it stands `bytes`, a count."""

    columns = ("bits_per_byte",)

    def __init__(self, config: BitsPerByteOptions) -> None:
        self.sides = SIDES[config.of]
        self.model = config.model
        parts = ("query", "answer_given_query") if config.of == "both" else (config.of,)
        self.needs = tuple(Need(config.model, part) for part in parts)

    def measure(self, record: Record) -> Mapping[str, float]:
        """`bytes` of what is scored; half a surrogate pair, which JSON may hold, has three."""
        texts = (getattr(one, side) for one in record.exchanges() for side in self.sides)
        return {"bytes": float(sum(len(text.encode("utf-8", "surrogatepass")) for text in texts))}

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where a likelihood is, and where the scored answer was cut (`too_long`)."""
        logprob = sum(table.likelihood(*need).logprob for need in self.needs)
        rows, size = table.rows, table.column("bytes")
        first = np.flatnonzero(np.diff(rows, prepend=-1))  # exchanges of a record share its row
        if not len(first):
            return {"bits_per_byte": np.empty(0)}
        bits = -np.add.reduceat(np.asarray(logprob), first) / math.log(2)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(size[first] > 0, bits / size[first], np.nan)
        # An answer that was cut has fewer tokens, but all its bytes. A query never is.
        cut = table.columns.get(f"{self.model}.cut")
        if cut is not None and "answer" in self.sides:
            found = np.where(cut[first] > 0, np.nan, found)
        return {"bits_per_byte": found}
