"""The tokens' numbers of a run: in a file without a name, written at its end, mapped for reading.

A run with a million records has some 2 GB of them for each likelihood: too many for memory. The
file is gone when its process is, however that ends.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from qaqfilter.errors import RunDirectoryError
from qaqfilter.tokens import TokenValues

# Begins like the folder that a run fills: where a file needs a name, what is left of it is
# removed with that of a run that was killed.
_PREFIX = ".partial-tokens-"


class TokenSpool:
    """A growing array of float32 in a file, in `folder` or where temporary files are.

    Raises RunDirectoryError where it cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._size = 0

    def append(self, values: TokenValues) -> int:
        """Put numbers at the end; where they begin."""
        start = self._size
        if len(values):
            with self._told():
                self._opened().write(np.ascontiguousarray(values, dtype=np.float32).data)
            self._size += len(values)
        return start

    def values(self) -> TokenValues:
        """All numbers so far, read-only: pages of the file, which memory need not hold."""
        if not self._size:
            return np.empty(0, dtype=np.float32)
        with self._told():
            file = self._opened()
            file.flush()
            return np.memmap(file, dtype=np.float32, mode="r", shape=(self._size,))

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            # Open as long as this object is there.
            file = tempfile.TemporaryFile(prefix=_PREFIX, dir=self._folder)  # noqa: SIM115
            weakref.finalize(self, _close, file)
            self._file = file
        return self._file

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunDirectoryError(
                f"the tokens' numbers cannot be kept in {self._folder or tempfile.gettempdir()}: "
                f"{error}; make room there (so far they are {self._size * 4} bytes)"
            ) from error


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # a full disk, told before: what is in the file is not wanted any more
        file.close()
