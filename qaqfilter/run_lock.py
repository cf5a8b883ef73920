"""One run at a time in a folder, and a note of the run that is at work there.

The lock is the system's, so that it goes with the process, however that ends. The note stays
behind a run that was stopped: it says what the input was when the scores were made.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from qaqfilter.addresses import Address
from qaqfilter.errors import RunDirectoryError
from qaqfilter.input_parts import InputPart

LOCK = ".lock"
BEGUN = ".begun.json"


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that was begun: where, by which process, when, and over what input (once known)."""

    host: str
    process: int
    since: str
    input: tuple[InputPart, ...] | None = None


_BEGUN = TypeAdapter(Begun)


def now() -> str:
    """The time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextmanager
def only_run(folder: Path, where: Path | Address) -> Iterator[Begun | None]:
    """Be the only run in `folder`; gives the note of an earlier run that did not finish.

    `where` is what messages call it. Raises RunDirectoryError where another is at work, OSError
    where nothing can be written.
    """
    path = folder / LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        other = read_begun(folder)
        who = f" (process {other.process} on {other.host}, since {other.since})" if other else ""
        raise RunDirectoryError(
            f"another run{who} is at work in {where}: wait for it, stop it, or name another "
            "folder with --set output.path=..."
        ) from error
    try:
        before = read_begun(folder)
        note_begun(folder, before.input if before else None)
        yield before
    finally:
        mine = read_begun(folder)
        if mine is not None and mine.input is None:
            (folder / BEGUN).unlink()  # it got nowhere, so there is nothing to tell
        # Removed while it is held: whoever waits for this file sees that it is gone, and makes
        # a new one. Windows removes no open file; there it stays, and does no harm.
        with suppress(OSError):
            path.unlink()
        lock.release()


def note_begun(folder: Path, parts: Sequence[InputPart] | None) -> None:
    """Write down that this process is at work here, and over what."""
    found = None if parts is None else tuple(parts)
    note: Any = asdict(Begun(socket.gethostname(), os.getpid(), now(), found))
    partial = folder / f"{BEGUN}.{os.getpid()}"
    partial.write_bytes(orjson.dumps(note))
    partial.replace(folder / BEGUN)


def read_begun(folder: Path) -> Begun | None:
    """The note of the latest run that did not finish here, or of the one at work."""
    try:
        return _BEGUN.validate_json((folder / BEGUN).read_bytes())
    except (OSError, ValidationError):  # a note helps, and nothing depends on it
        return None
