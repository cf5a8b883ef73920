"""Contenders timed in alternating rounds, so that a machine that slows down slows all of them."""

from __future__ import annotations

import datetime
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

Seconds = Mapping[str, Sequence[float]]
"""Contender -> seconds of each round."""


def alternate(runs: Mapping[str, Callable[[], object]], rounds: int, console: Console) -> Seconds:
    """Time every run once a round; the order turns from round to round. Warm them up before."""
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            began = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - began)
        done = ", ".join(f"{name} {seconds[name][-1]:.2f} s" for name in names)
        console.print(f"round {number + 1} of {rounds}: {done}")
    return seconds


def ratios(seconds: Seconds, slower: str, faster: str) -> list[float]:
    """How many times as long `slower` took as `faster`, round by round."""
    return [a / b for a, b in zip(seconds[slower], seconds[faster], strict=True)]


def speed_table(
    seconds: Seconds, base: Mapping[str, str], records: int, tokens: Mapping[str, int]
) -> Table:
    """A row a contender: median seconds, records and asked-for tokens a second, and the ratio.

    `base` names the contender to which each is compared, `tokens` what each was asked for.
    """
    table = Table(title=f"{records} records, medians of {_count(seconds)} alternating rounds")
    table.add_column("contender")
    for heading in ("seconds", "records/s", "tokens/s", "times ours", "(range)"):
        table.add_column(heading, justify="right")
    for name, own in seconds.items():
        middle = statistics.median(own)
        against = ratios(seconds, name, base[name])
        table.add_row(
            name,
            f"{middle:.2f}",
            f"{records / middle:.3f}",
            f"{tokens[name] / middle:.0f}",
            f"{statistics.median(against):.2f}",
            f"{min(against):.2f} to {max(against):.2f}",
        )
    return table


def header(packages: Sequence[str]) -> str:
    """Where and when: processor, cores, versions, date. Numbers mean little without it."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return (
        f"{_processor()}, {cores} cores, {platform.system()} {platform.machine()}\n"
        f"Python {platform.python_version()}, {versions}\n{today}{_load()}"
    )


def _load() -> str:
    if not hasattr(os, "getloadavg"):
        return ""
    return f", load average {os.getloadavg()[0]:.1f} at the start"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _count(seconds: Seconds) -> int:
    return len(next(iter(seconds.values())))
