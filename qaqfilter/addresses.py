"""Files that are somewhere else, by address: `s3://bucket/data.jsonl`, `hf://datasets/org/name/...`.

fsspec reads and writes them. What a file system wants to know beside the address (keys, endpoints,
proxies) it takes from its own configuration and environment, never from a recipe: recipes are
shared.
"""

from __future__ import annotations

import re
from typing import Any

from qaqfilter.errors import SourceError

# A scheme has two letters or more: `c:` is a drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "http": "http",
    "https": "http",
}
"""Extras of this package by scheme; other schemes name their own package."""


def is_address(path: str) -> bool:
    """Whether `path` is an address, and not a path of this machine."""
    return _SCHEME.match(path) is not None


def file_system(address: str) -> tuple[Any, str]:
    """The `fsspec.AbstractFileSystem` of an address, and the path there.

    Raises SourceError where fsspec knows no such scheme, or its package is not installed.
    """
    from fsspec.core import url_to_fs

    found = _SCHEME.match(address)
    scheme = found[1].lower() if found else "file"
    try:
        system, path = url_to_fs(address)
    except ValueError as error:
        raise SourceError(f"{address}: {error}") from None
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        mend = f"pip install 'qaqfilter[{extra}]'" if extra else str(error)
        raise SourceError(
            f"{address}: what reads {scheme}:// is not installed; install it with: {mend}"
        ) from None
    return system, path
