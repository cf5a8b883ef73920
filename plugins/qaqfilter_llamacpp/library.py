"""What llama.cpp has once a process: its log, its versions; and calls that Ctrl-C can end."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import llama_cpp  # noqa: TID253 - only backend.py and its helpers import this file

logger = logging.getLogger(__name__)

_ERROR, _CONTINUED = 4, 5  # ggml.h; llama-cpp-python's own table of levels is out of date
_POLL_SECONDS = 0.1


class _Log:
    """Everything goes to our logger at DEBUG; errors are kept for the exception to come."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=20)
        self._level = 0

    def __call__(self, level: int, text: bytes, _data: object) -> None:
        self._level = self._level if level == _CONTINUED else level
        line = text.decode("utf-8", "replace").rstrip()
        if line:
            logger.debug("llama.cpp: %s", line)
            if self._level == _ERROR:
                self.errors.append(line)


_log = _Log()
_log_callback = llama_cpp.llama_log_callback(_log)  # llama.cpp holds it as long as we run


def initialise() -> None:
    """Start llama.cpp and take over its log, which otherwise goes to stderr. Repeatable."""
    llama_cpp.llama_backend_init()
    llama_cpp.llama_log_set(_log_callback, None)
    _log.errors.clear()


def complaints() -> str:
    """The errors that llama.cpp has logged since the last call, as one line."""
    text = "; ".join(_log.errors)
    _log.errors.clear()
    return text or "llama.cpp gave no reason"


def versions() -> dict[str, str]:
    """What was compiled, and for which instructions: both move the last digits of a score."""
    return {
        "llama.cpp": llama_cpp.llama_version().decode(),
        "llama-cpp-python": llama_cpp.__version__,
        "system": llama_cpp.llama_print_system_info().decode().strip(" |"),
    }


class Interruptible:
    """Runs C calls, one at a time, on a thread of its own.

    Python sees Ctrl-C only between its own instructions, so a call on the main thread would
    have to end first, which takes many seconds with a large model. llama.cpp asks `should_stop`
    after every operation. That is C's strlen over a two-byte buffer: 0 while the buffer is
    empty, 1 once it holds a character. A Python function would need the interpreter lock a
    thousand times a second, and wait for it whenever another thread is busy.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="llama.cpp")
        self._flag = ctypes.create_string_buffer(2)
        libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
        self.should_stop = ctypes.cast(libc.strlen, llama_cpp.ggml_abort_callback)
        self.data = ctypes.cast(self._flag, ctypes.c_void_p)

    @property
    def stopping(self) -> bool:
        """Whether the call that runs has been asked to end."""
        return self._flag.raw[:1] != b"\0"

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`; on an exception here (Ctrl-C) it is stopped and awaited."""
        future = self._pool.submit(function, *arguments)
        try:
            # Windows cannot interrupt a wait without a limit.
            while not wait([future], timeout=_POLL_SECONDS).done:
                pass
            return future.result()
        except BaseException:
            self._flag[0] = b"\1"
            wait([future])
            self._flag[0] = b"\0"
            raise

    def close(self) -> None:
        """Stop what still runs and end the thread. May be called again."""
        self._flag[0] = b"\1"
        self._pool.shutdown()
