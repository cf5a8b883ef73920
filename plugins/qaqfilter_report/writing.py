"""A file that the user named."""

from __future__ import annotations

from pathlib import Path

from qaqfilter import UsageError


def write_file(path: Path, content: bytes) -> None:
    """Write it. Raises UsageError, naming it, where that is not possible."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
