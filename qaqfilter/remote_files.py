"""Input files that are somewhere else: found by pattern and read through fsspec.

Whatever a file system raises comes out as an OSError, like those of local files, whose text gives
the reason and the mend. No text shows a password or a signed query.
"""

from __future__ import annotations

import errno
import io
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from qaqfilter.addresses import BUCKETS, file_system, is_http, without_credentials
from qaqfilter.errors import SourceError

_log = logging.getLogger(__name__)
_PATIENCE = 15.0
"""Seconds without an answer after which that is said: a file system may try for minutes more."""
_AHEAD = 1 << 23
"""Bytes that are asked for at once where a file is read from beginning to end."""
_BLOCK, _BLOCKS = 1 << 22, 32
"""Bytes that are asked for at once where a file is read here and there, and how many such pieces
are held: the columns of a parquet file are read side by side, each a bit at a time."""
_PIECE = 1 << 20
"""Bytes that are taken from fsspec at once; each time somebody looks at the clock."""
_URL = re.compile(r"https?://[^\s\"<>]+", re.IGNORECASE)
_S3 = (
    "keys and endpoint come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
    "AWS_PROFILE, AWS_ENDPOINT_URL; a public bucket: FSSPEC_S3_ANON=true)"
)
_GS = "keys come from the environment (GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth)"
_MENDS = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GS,
    "gcs": _GS,
    "hf": "a private data set needs HF_TOKEN, or `hf auth login`",
    "http": "check the address, and whether the server can be reached",
    "https": "check the address, and whether the server can be reached",
}
_MEND = "keys, endpoints and the like come from the environment of fsspec, not from the recipe"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a file system of fsspec; `shown` is its address without credentials."""

    shown: str
    system: Any
    path: str

    def open(self, *, seeks: bool = False) -> BinaryIO:
        """The file's bytes. With `seeks` it will be read here and there, else from end to end.

        It and its reads raise OSError.
        """
        how: dict[str, Any] = {"cache_type": "readahead", "block_size": _AHEAD}
        if seeks:
            how = {
                "cache_type": "blockcache",
                "block_size": _BLOCK,
                "cache_options": {"maxblocks": _BLOCKS},
            }
        with _asking(self.shown):
            file = self.system.open(self.path, "rb", **how)
        return io.BufferedReader(_Reached(file, self.shown), _PIECE)


class _Reached(io.RawIOBase):
    """A file of fsspec whose errors say what can be done."""

    def __init__(self, file: Any, shown: str) -> None:
        self._file = file
        self._shown = shown

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        place: int = self._file.tell()
        return place

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        with _asking(self._shown):
            there: int = self._file.seek(place, whence)
        return there

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        with _asking(self._shown):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def find_remote(pattern: str) -> list[Remote]:
    """The files that a pattern matches, sorted. Raises SourceError where there is none."""
    shown = without_credentials(pattern)
    scheme = shown.partition("://")[0]
    try:
        with _asking(shown):
            system, path = file_system(pattern)
            system.invalidate_cache()  # every read looks anew: a listing has sizes in it
            found, folder = _matches(system, path)
            bucket = path.partition("/")[0]
            if not found and scheme.lower() in BUCKETS and not system.exists(bucket):
                raise SourceError(
                    f"{shown}: there is no bucket {bucket!r}, or not for these keys; {_mend(shown)}"
                )
    except OSError as error:
        raise SourceError(f"{shown}: {error.strerror}") from None
    if not found:
        hint = " (a folder; name the files in it: folder/*)" * folder
        raise SourceError(f"no file matches {shown}{hint}")
    slashes = "" if "://" in path else f"{scheme}://"
    return [Remote(without_credentials(f"{slashes}{p.lstrip('/')}"), system, p) for p in found]


def _matches(system: Any, path: str) -> tuple[list[str], bool]:
    """Paths of files; and whether there is a folder instead. A file's very name beats a pattern."""
    from fsspec.core import has_magic

    if "*" not in path:
        try:
            kind = system.info(path)["type"]
        except FileNotFoundError:
            kind = None
        if kind == "file":
            return [path], False
        if not has_magic(path):
            return [], kind is not None
    found = system.glob(path, detail=True)
    files = sorted(name for name, info in found.items() if info["type"] == "file")
    return files, bool(found) and not files


@contextmanager
def reaching(shown: str) -> Iterator[None]:
    """Around whatever asks a file system: what it raises becomes an OSError with a reason."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 - every file system has exceptions of its own
        raise OSError(errno.EIO, _why(error, shown)) from None


@contextmanager
def _asking(shown: str) -> Iterator[None]:
    """`reaching`, for what should not take long: nobody has to wait without a word."""
    told = f"{shown}: no answer for {_PATIENCE:g} seconds; still trying ({_mend(shown)})"
    timer = threading.Timer(_PATIENCE, _log.warning, [told])
    timer.daemon = True
    timer.start()
    try:
        with reaching(shown):
            yield
    finally:
        timer.cancel()


def _why(error: Exception, shown: str) -> str:
    """The reason and what can be done about it."""
    status, message = (getattr(error, name, None) for name in ("status", "message"))
    if type(error).__name__ == "FileExpired":
        return "it changed while it was read: run again when nobody writes it"
    if isinstance(error, FileNotFoundError):
        code = " (404)" if is_http(shown) else ""
        return f"there is no such file{code}, or not any more; check the address"
    if isinstance(status, int) and isinstance(message, str) and is_http(shown):
        return f"the server answers {status} {message}; {_STATUS.get(status // 100, _mend(shown))}"
    text = " ".join(_URL.sub(lambda url: without_credentials(url[0]), str(error)).split())
    if isinstance(error, TimeoutError):
        text = "no answer came in time"
    return f"{text or type(error).__name__}; {_mend(shown)}"


_STATUS = {
    4: "check the address, its query (a signed one expires) and your right to read it",
    5: "try again later",
}


def _mend(shown: str) -> str:
    return _MENDS.get(shown.partition("://")[0].lower(), _MEND)
