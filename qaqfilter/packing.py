"""Bytes as columns of numbers, exactly: six to a float64, which holds whole numbers up to 2**53.

A run holds numbers and no text. So a step that will compare records with one another, by a digest
or a signature, has to measure it as numbers: `pack` in `measure`, `unpack` in `score`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qaqfilter.table import Table

AT_ONCE = 6
"""Bytes in a number."""


def packed_names(name: str, size: int) -> tuple[str, ...]:
    """The columns that hold `size` bytes under this name: what a selector lists as `packed`."""
    return tuple(f"_{name}_{index}" for index in range(-(-size // AT_ONCE)))


def pack(name: str, data: bytes) -> dict[str, float]:
    """Bytes as numbers from 0 to 2**48 - 1, by their columns; the last is filled up with zeros."""
    ends = range(AT_ONCE, len(data) + AT_ONCE, AT_ONCE)
    numbers = (float(int.from_bytes(data[end - AT_ONCE : end], "little")) for end in ends)
    return dict(zip(packed_names(name, len(data)), numbers, strict=True))


def unpack(table: Table, name: str, size: int) -> NDArray[np.uint8]:
    """What was packed, ``[len(table), size]`` bytes. Zeros where a record was never measured."""
    names = packed_names(name, size)
    found = np.zeros((len(table), len(names), AT_ONCE), dtype=np.uint8)
    for index, column in enumerate(names):
        whole = np.nan_to_num(table.column(column)).astype("<u8")
        found[:, index] = whole.view(np.uint8).reshape(len(table), 8)[:, :AT_ONCE]
    return found.reshape(len(table), -1)[:, :size]


def is_packed(column: str) -> bool:
    """Whether ``<step>.<column>`` holds packed bytes, which mean nothing to any but its step."""
    return column.partition(".")[2].startswith("_")
