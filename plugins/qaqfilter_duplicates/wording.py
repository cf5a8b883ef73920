"""The text of a record by which it is a duplicate, and what in it makes no difference."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from qaqfilter import Decisions, Floats, Options, Record, Table

Side = Literal["query", "answer", "both"]
Ignored = Literal["white_space", "case", "unicode_forms"]


class WordingOptions(Options):
    """Which text is compared, and how."""

    of: Side = Field(
        "both",
        description="Which text to compare. What stands before a query in its conversation "
        "belongs to it; the system text does not.",
    )
    ignore: tuple[Ignored, ...] = Field(
        (),
        description="What makes no difference: how much white space there is, upper and lower "
        "case, other forms of one character (Unicode NFKC).",
    )


def wording(record: Record, config: WordingOptions) -> list[str]:
    """The texts that are compared, one after the other."""
    before = [turn.text for turn in record.history]
    match config.of:
        case "query":
            texts = [*before, record.query]
        case "answer":
            texts = [one.answer for one in record.exchanges()]
        case "both":
            texts = [*before, record.query, record.answer]
    return [_levelled(text, config.ignore) for text in texts]


def _levelled(text: str, ignore: Sequence[Ignored]) -> str:
    if "unicode_forms" in ignore:
        text = unicodedata.normalize("NFKC", text)
    if "case" in ignore:
        text = text.casefold()
    return " ".join(text.split()) if "white_space" in ignore else text


def drop(table: Table, reason: str, value: str, bound: float) -> Decisions:
    """Rejects what has a ``duplicate_of``. `value` is the column that shows why."""
    out = ~np.isnan(table.column("duplicate_of"))
    nothing = np.full(len(table), np.nan)
    values: Floats = np.where(out, table.column(value), nothing)
    return Decisions(
        kept=~out,
        reason=out.astype(np.int16),
        reasons=("kept", reason),
        value=values,
        bound=np.where(out, bound, nothing),
    )
