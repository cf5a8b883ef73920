"""Bits per byte of one side of a record, or of both."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_bits_per_byte.selector import BitsPerByte, BitsPerByteOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `bits_per_byte`."""
    yield Component(
        "bits_per_byte",
        BitsPerByteOptions,
        BitsPerByte,
        "how surprising each byte is, by any tokenizer",
    )
