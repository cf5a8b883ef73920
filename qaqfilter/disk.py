"""Files of this machine: deleted, linked, and surely written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; what is not there is no matter."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_or_copy(file: Path, target: Path) -> None:
    """Have a file under another name, too: the same one where the system can, else a copy."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copy2(file, target)


def sync(path: Path) -> None:
    """Have the system write a file out: a name must not survive a power cut without its bytes."""
    if path.is_dir():
        for inside in path.iterdir():
            sync(inside)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())
