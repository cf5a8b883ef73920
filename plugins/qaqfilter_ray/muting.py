"""Ray without words of its own: standard output is for records, standard error for our messages.

Most has no setting. What matters of it (dead workers, tasks that are done again) the executor says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import worker


@contextmanager
def muted_start() -> Iterator[None]:
    """While a cluster is started or joined: its C++ writes to the terminal, past Python."""
    # Ray would send figures of its use to its makers where nobody is there to be asked.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Lower levels warn of what Ray Data does with its own actors. Set it to read Ray's own logs.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


@contextmanager
def muted() -> Iterator[None]:
    """While it runs: it would print on standard output that a worker died."""
    module: Any = worker
    before = module.print_to_stdstream
    module.print_to_stdstream = lambda *args, **kwargs: None
    try:
        yield
    finally:
        module.print_to_stdstream = before
