"""What a run left behind."""

from __future__ import annotations

from pathlib import Path


def visible(folder: Path) -> dict[str, bytes]:
    """Every file of a run directory by name, but for the notes that a stopped run leaves there."""
    if not folder.exists():
        return {}
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}
