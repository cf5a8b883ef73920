"""What a run left behind, and what it said."""

from __future__ import annotations

from pathlib import Path


def visible(folder: Path) -> dict[str, bytes]:
    """Every file of a run directory by name, but for the notes that a stopped run leaves there."""
    if not folder.exists():
        return {}
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


class Said:
    """An observer that remembers the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def started(self, label, records): ...
    def advanced(self, records, tokens): ...
    def finished(self): ...

    def message(self, text):
        self.messages.append(text)
