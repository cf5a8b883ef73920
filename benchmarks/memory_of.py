"""The peak memory of a function, in a process of its own.

The child loads what the function needs and calls it once on something small, so that the weights
are in memory and the libraries awake; that is its level. Then the peak is set back to the level
where the system allows it (Linux), the function runs, and the peak is read. Elsewhere the peak is
that of the whole process (ru_maxrss): loading may then hide a smaller one, and that is said.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Prepared = tuple[Callable[[], object], Callable[[], T]]
"""What wakes everything up, and what is measured."""

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Peak(Generic[T]):
    """Bytes of resident memory; `hidden` where loading peaked above all that came after."""

    level: int
    peak: int
    hidden: bool
    value: T

    @property
    def above(self) -> int:
        """Bytes above the level after loading."""
        return self.peak - self.level


def memory_of(prepare: Callable[[], Prepared[T]]) -> Peak[T]:
    """Run ``prepare()`` and then what it returns in a fresh process.

    `prepare` and the value must be picklable. Raises RuntimeError where the child fails or is
    killed, as it is when memory runs out.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(prepare, sender))
    child.start()
    sender.close()  # else a dead child would never be noticed
    try:
        answer: Peak[T] = receiver.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"the measuring process ended with code {child.exitcode}") from None
    child.join()
    return answer


def _in_child(prepare: Callable[[], Prepared[T]], sender: Connection) -> None:
    wake, run = prepare()
    wake()
    _give_back()
    reset = _reset_peak()
    level, before = _resident(), _peak()
    value = run()
    after = _peak()
    sender.send(Peak(level, after, not reset and after <= before, value))
    sender.close()


def _give_back() -> None:
    """Return freed memory to the system, or it would count as the level."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> bool:
    """Set the peak back to what is resident now; whether that is possible here."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return True
    return False


def _resident() -> int:
    psutil: Any = import_module("psutil")  # accelerate brings it
    return int(psutil.Process().memory_info().rss)


def _peak() -> int:
    # Not ru_maxrss on Linux: a child starts with its parent's there.
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
