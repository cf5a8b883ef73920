"""The files that a run leaves, as bytes, and whether a folder holds them whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

DATA = ("kept.*", "rejected.*", "quarantine.jsonl", "scores.parquet", "README.md")
"""What must be the same to the byte; other files hold times."""
COUNTS = ("read", "kept", "rejected", "quarantined", "duplicate_ids", "steps")
MANIFEST = "manifest.json"

Outputs = Mapping[str, bytes]


def outputs(folder: Path) -> Outputs:
    """Every data file by name, and the manifest's counts under its own."""
    found = {p.name: p.read_bytes() for name in DATA for p in sorted(folder.glob(name))}
    if (folder / MANIFEST).exists():
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        found[MANIFEST] = orjson.dumps({name: manifest[name] for name in COUNTS})
    return found


def check_killed(folder: Path, sets: Sequence[Outputs], problems: list[str]) -> None:
    """After a kill: every file is whole, and a manifest stands only beside its own whole set."""
    found = outputs(folder)
    for name, data in found.items():
        if all(data != known.get(name) for known in sets):
            problems.append(f"{name} is there, and is not whole")
    if MANIFEST in found and found not in sets:
        problems.append("a manifest stands beside files that are not its own")


def check_finished(folder: Path, expected: Outputs, problems: list[str]) -> None:
    """After the end: all files as they should be, and nothing hidden left."""
    found = outputs(folder)
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            problems.append(f"{name} differs from that of an undisturbed run")
    if any(folder.glob(".partial*")):
        problems.append("hidden folders of killed runs are left")
