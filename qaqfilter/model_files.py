"""A model on disk, how a model location becomes one, and the chat template it brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk. `digest` changes whenever a byte of the weights does.

    `make_gguf` is there where a locator can write its safetensors as GGUF: a backend that reads
    only GGUF calls ``files.as_gguf()`` first, and no other backend pays for the conversion.
    """

    path: Path
    format: Literal["gguf", "safetensors"]
    digest: str
    make_gguf: Callable[[], ModelFiles] | None = field(default=None, compare=False, repr=False)

    def as_gguf(self) -> ModelFiles:
        """The same weights as GGUF where that can be had, else these files as they are.

        Raises ModelError where the conversion fails.
        """
        if self.format == "gguf" or self.make_gguf is None:
            return self
        return self.make_gguf()


class Locator(Protocol):
    """Turns a model location (what follows ``scheme:``) into files."""

    def locate(self, location: str, revision: str | None) -> ModelFiles:
        """Find or fetch the files. Raises ModelError, naming the location."""
        ...


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A model's own chat template: Jinja source and the texts of its BOS and EOS tokens."""

    source: str
    bos_token: str
    eos_token: str
    origin: str
