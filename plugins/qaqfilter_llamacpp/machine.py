"""How many threads are worth starting, and how they wait for one another."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CGROUP, _LIMITS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

_WAITING = "OMP_WAIT_POLICY"


@contextmanager
def patient_threads() -> Iterator[None]:
    """Import llama_cpp in here, and its threads wait asleep, unless the environment says how.

    OpenMP's threads otherwise spin for a while at the end of each operation, of which a chunk has
    hundreds. If anything else runs on the machine, the one that spins keeps the one it waits for
    off the processor: two threads were then four times as slow, and slower than one. OpenMP
    reads the variable when it is loaded, so it is taken back, and child processes do not get it.
    """
    if _WAITING in os.environ or "GOMP_SPINCOUNT" in os.environ:
        yield
        return
    os.environ[_WAITING] = "passive"
    try:
        yield
    finally:
        os.environ.pop(_WAITING, None)


def usable_cores() -> int:
    """Physical cores that this process may use, at least 1 and at most its quota of CPU time.

    Two hyperthreads share the units that multiply, so they count as one core where the system
    tells. A thread beyond the quota is stopped again and again, and the others wait for it. Not
    more than OMP_NUM_THREADS, by which whoever starts several processes divides the machine.
    """
    quota = cpu_quota()
    cores = physical_cores()
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdigit():
        cores = min(cores, int(given))
    return max(1, cores if quota is None else min(cores, int(quota)))


def physical_cores() -> int:
    """Cores in this process's affinity, hyperthreads counted once; all of them where unknown."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    siblings = set()
    for cpu in allowed:
        try:
            folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
            siblings.add((folder / "thread_siblings_list").read_text())
        except OSError:
            return len(allowed)
    return len(siblings)


def cpu_quota(membership: Path = _CGROUP, limits: Path = _LIMITS) -> float | None:
    """CPUs' worth of time that Linux control groups (version 2) grant; None without a limit.

    The group of this process and every group around it may set a limit; the smallest counts.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), None)
    if own is None:
        return None
    quotas = []
    folder = limits / own
    for group in (folder, *folder.parents):
        if not group.is_relative_to(limits):
            break
        try:
            allowed, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):
            continue
        if allowed != "max":
            quotas.append(int(allowed) / int(period))
    return min(quotas, default=None)
