"""A limit on how long a model may take for one window (`run.window_seconds`).

Nothing can end a thread that hangs in native code. So with a limit the backend is called on a
thread of its own, which is left behind when its time is over: a daemon, for Python must not wait
for it at the end. Without a limit there is no thread.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from qaqfilter.blame import Culprit
from qaqfilter.errors import BackendHung
from qaqfilter.types import Window

T = TypeVar("T")

_POLL_SECONDS = 0.1
"""Windows cannot interrupt a wait without a limit."""


class Watch:
    """Calls functions, and gives up on one that outlasts the window's seconds (None: never).

    The seconds count only while a function runs, not between two calls.
    """

    def __init__(self, culprit: Culprit, seconds: float | None) -> None:
        self._culprit = culprit
        self._seconds = seconds
        self._left = 0.0
        self._window: Window | None = None
        self._tasks: _Tasks = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, window: Window) -> None:
        """From here on the seconds are those of `window`."""
        self._window, self._left = window, self._seconds or 0.0

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)`. Raises BackendHung when the time is over.

        On Ctrl-C the function gets a KeyboardInterrupt too, and the rest of its time to end; at
        the second Ctrl-C it counts as hanging.
        """
        if self._seconds is None:
            return function(*arguments)
        if self._thread is None:
            self._tasks = SimpleQueue()
            self._thread = threading.Thread(
                target=_work, args=(self._tasks,), name="watched backend", daemon=True
            )
            self._thread.start()
        task = _Task(function, arguments)
        began = time.monotonic()
        self._tasks.put(task)
        try:
            self._await(task, began + self._left)
        except KeyboardInterrupt:
            # Whoever is interrupted goes on to free the backend: not while it is at work.
            task.cancel(self._thread)
            try:
                self._await(task, began + self._left)
            except KeyboardInterrupt:
                said = self._culprit.said("was at work and did not end when interrupted twice")
                raise BackendHung(said) from None
            raise
        self._left -= time.monotonic() - began
        if task.error is not None:
            raise task.error
        found: T = task.result
        return found

    def close(self) -> None:
        """Let the thread end, once it has nothing to do. The next call would start another."""
        self._tasks.put(None)
        self._thread = None

    def _await(self, task: _Task, deadline: float) -> None:
        while not task.done.wait(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline and not task.done.is_set():
                raise BackendHung(self._culprit.said(self._verdict()))

    def _verdict(self) -> str:
        where = ""
        if self._window is not None and self._window.records:
            records = self._window.records
            where = f", of {len(records)} records from {records[0].origin} to {records[-1].origin},"
        return (
            f"one window{where} took longer than run.window_seconds = {self._seconds:g}, so the "
            "backend is taken to hang, and the run ends; raise run.window_seconds, or lower "
            "run.window, if it is only slow. What was scored before is in the score store"
        )


class _Task:
    """One call and what came of it; `done` is set when it has ended."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        self._changing = threading.Lock()
        self._running = self._cancelled = False

    def run(self) -> None:
        """Make the call, unless it was cancelled; for the thread."""
        with self._changing:
            self._running = not self._cancelled
        if self._running:
            try:
                self.result = self.function(*self.arguments)
            except BaseException as error:  # noqa: BLE001 - raised again where the call was made
                self.error = error
            with self._changing:
                self._running = False

    def cancel(self, thread: threading.Thread) -> None:
        """Raise KeyboardInterrupt in the call as soon as it is back in Python."""
        with self._changing:
            self._cancelled = True
            if self._running:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
                )


_Tasks = SimpleQueue[_Task | None]


def _work(tasks: _Tasks) -> None:
    """The thread: one task after another, until there is None."""
    with suppress(KeyboardInterrupt):  # that of `cancel` may come a moment late
        while (task := tasks.get()) is not None:
            with suppress(KeyboardInterrupt):
                task.run()
            task.done.set()
            del task  # its results belong to the caller
