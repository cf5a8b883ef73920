"""Clusters of `ray start` processes on this machine, and who works in them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RAY = Path(sys.executable).with_name("ray")
QAQFILTER = Path(sys.executable).with_name("qaqfilter")
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""They are a node's own: without them it ends, as Ray wants it."""


class Marked:
    """Processes that come of this object, by a mark in their environment."""

    def __init__(self) -> None:
        self.mark = f"qaqfilter-test-{uuid.uuid4().hex}"

    def environment(self, **more: str) -> dict[str, str]:
        """For `subprocess`."""
        # Ray would ask its makers' server, and number threads by its own rules.
        own = {"QAQFILTER_TEST_MARK": self.mark, "RAY_USAGE_STATS_ENABLED": "0"}
        return {**os.environ, **own, **more}

    def processes(self, *titles: str) -> list[int]:
        """Those whose title begins in one of these ways; all if there are none."""
        return list(self._found(titles))

    def titles(self, *titles: str) -> list[str]:
        """Their titles."""
        return list(self._found(titles).values())

    def _found(self, titles: tuple[str, ...]) -> dict[int, str]:
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = self.mark.encode() in (folder / "environ").read_bytes()
                title = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                continue
            if marked and (not titles or title.startswith(titles)):
                found[int(folder.name)] = title
        return found

    def workers(self) -> list[int]:
        """Whatever works for a run: readers, scorers, Ray's own actors."""
        agents = self.processes(*AGENTS, "ray::IDLE")
        return [process for process in self.processes("ray::") if process not in agents]

    def kill(self) -> None:
        """Kill all of them."""
        for process in self.processes():
            kill(process)


def kill(process: int) -> bool:
    """SIGKILL; whether it was there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Node(Marked):
    """A node that `ray start` started."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        super().__init__()
        gpus = (
            [] if any(option.startswith("--num-gpus") for option in options) else ["--num-gpus=0"]
        )
        command = [RAY, "start", "--disable-usage-stats", *gpus, *options]
        if "--head" in options:
            command += ["--include-dashboard=false", f"--temp-dir={folder}"]
        subprocess.run(
            command, env=self.environment(**environment), check=True, capture_output=True
        )


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def cluster(cpus: int) -> Iterator[tuple[str, Path]]:
    """A cluster of one node: its address, and the folder that further nodes are started with."""
    # Ray's sockets live there, and their paths may not be long.
    folder = Path(tempfile.mkdtemp(prefix="qr", dir="/tmp"))
    port = free_port()
    head = Node(folder, "--head", f"--num-cpus={cpus}", f"--port={port}")
    try:
        yield f"127.0.0.1:{port}", folder
    finally:
        head.kill()
        shutil.rmtree(folder, ignore_errors=True)
