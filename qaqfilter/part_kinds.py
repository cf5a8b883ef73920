"""What a kind of parts of the score store must be able to do, for the store and for joining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

P = TypeVar("P", bound="Keyed")
V = TypeVar("V")


class Keyed(Protocol):
    """What a part of any kind holds: keys [rows, KEY_BYTES], and something for each."""

    @property
    def keys(self) -> NDArray[np.uint8]: ...


class Kind(Protocol[P, V]):
    """A kind of parts: how they are written and read, and which of two values of a key counts.

    `folder` is where they are, below that of the fingerprint. `target` is how much a joined part
    holds, as `weight` counts it.
    """

    @property
    def folder(self) -> str: ...
    @property
    def target(self) -> int: ...
    def of(self, values: Mapping[bytes, V]) -> P: ...
    def write(self, file: BinaryIO, part: P) -> None: ...
    def read(self, path: Path) -> P: ...
    def value(self, part: P, row: int) -> V: ...
    def better(self, one: V, other: V) -> V: ...
    def without_duplicates(self, parts: Iterable[P]) -> P: ...
    def weight(self, path: Path) -> int: ...
