"""Files that are somewhere else, by address: `s3://bucket/data.jsonl`, `hf://datasets/org/name/...`.

fsspec reads and writes them. What a file system wants to know beside the address (keys, endpoints,
proxies) it takes from its own configuration and environment, never from a recipe: recipes are
shared.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

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
_LOGIN = re.compile(r"\A((?:(?!abfss?://|wasbs?://)[A-Za-z][A-Za-z0-9+.-]+)://)[^/]*@")
"""In Azure's addresses what stands before the @ is a container."""
BUCKETS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "r2")
"""Schemes of stores that have no folders, only buckets with names in them."""
_NAMES = {"s3a": "s3", "gcs": "gs"}
STDIN = "-"
"""In place of a source's path: standard input."""


def is_address(path: str) -> bool:
    """Whether `path` is an address, and not a path of this machine."""
    return _SCHEME.match(path) is not None


def is_http(path: str) -> bool:
    """Whether `path` is an address of a web server, from which a file comes as it likes."""
    return path[:8].lower().startswith(("http://", "https://"))


def without_credentials(address: str) -> str:
    """An address as it may be shown and written down: without user, password and signed query."""
    bare = _LOGIN.sub(r"\1", address, count=1) if is_address(address) else address
    return bare.partition("?")[0] if is_http(bare) else bare


def same_spelling(address: str) -> str:
    """An address without credentials, its scheme by the most common of its names."""
    scheme, colon, rest = without_credentials(address).partition("://")
    return f"{_NAMES.get(scheme.lower(), scheme.lower())}{colon}{rest}"


def file_system(address: str, **options: Any) -> tuple[Any, str]:
    """The `fsspec.AbstractFileSystem` of an address, and the path there.

    `options` go to the file system. Raises SourceError where fsspec knows no such scheme, or its
    package is not installed.
    """
    from fsspec.core import url_to_fs

    found = _SCHEME.match(address)
    scheme = found[1].lower() if found else "file"
    try:
        system, path = url_to_fs(address, **options)
    except ValueError as error:
        raise SourceError(f"{without_credentials(address)}: {error}") from None
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        mend = f"pip install 'qaqfilter[{extra}]'" if extra else str(error)
        raise SourceError(
            f"{without_credentials(address)}: what reads {scheme}:// is not installed; "
            f"install it with: {mend}"
        ) from None
    return system, path


class Address(str):
    """Where a file or folder is that this machine does not have; used like a path.

    ``address / name`` is what is below it. fsspec opens it: ``fsspec.open(address)``.
    """

    __slots__ = ()

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.rstrip("/").rpartition("/")[2]

    def read_bytes(self) -> bytes:
        """What is there. Raises FileNotFoundError, and what the file system raises."""
        system, path = file_system(self)
        content: bytes = system.cat_file(path)
        return content

    def read_text(self) -> str:
        """What is there, as UTF-8."""
        return self.read_bytes().decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)
