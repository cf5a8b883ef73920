"""How many tokens a batch should hold: found by a short probe, and remembered.

A batch of n tokens takes a + b·n seconds: `a` to start every kernel and read every weight once,
`b` to compute a token. Two timed batches give both, and the budget makes `a` a thirty-second of
the whole (`qaqfilter.batching.OVERHEAD`); larger batches gain nothing, but pad more and leave the
processor's cache. On CUDA the second batch also tells what memory a token takes.

The batch plan moves the last digits of a score, so a budget is kept in the user's cache, by model
and machine: a run that is repeated takes the same one. `batch_tokens` in the recipe overrides it.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import torch

from qaqfilter.batching import OVERHEAD
from qaqfilter.cache import user_cache
from qaqfilter_transformers.memory import free_memory, is_out_of_memory

log = logging.getLogger(__name__)

Run = Callable[[int], None]
"""Scores a batch of so many tokens, to the end."""

SMALLEST = 512
LARGEST = {"cpu": 4096}
LARGEST_ELSEWHERE = 65536
SIZES = {"cpu": (64, 256)}
SIZES_ELSEWHERE = (1024, 4096)
REPEATS = 2
MEMORY_SHARE = 0.6
"""Of a GPU's free memory, how much a batch may take: attention grows faster than its tokens."""


def batch_budget(run: Run, model: str, device: str) -> int:
    """Most tokens, padding included, for a batch of `model` (its fingerprint) on `device`."""
    path = _place(model, device)
    known = _remembered(path)
    if known:
        log.info("batches of %d tokens, as probed before (%s)", known, path)
        return known
    try:
        found = probe(run, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        found = 0
    if not found:
        # Outside the handler: its traceback kept the tensors alive. Not remembered: another
        # program may have held the memory.
        free_memory()
        log.warning("out of memory in the probe; batches of %d tokens", SMALLEST)
        return SMALLEST
    _remember(path, found)
    log.info("batches of %d tokens, found by a probe (%s)", found, path)
    return found


def probe(run: Run, device: str) -> int:
    """Time two sizes and choose a budget, a power of two so that noise seldom moves it."""
    kind = torch.device(device).type
    small, large = SIZES.get(kind, SIZES_ELSEWHERE)
    run(small)  # the first run sets up what later ones find ready
    before = torch.cuda.memory_allocated(device) if kind == "cuda" else 0
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    first, second = (_seconds(run, size, kind) for size in (small, large))
    most = LARGEST.get(kind, LARGEST_ELSEWHERE)
    if kind == "cuda":
        used = (torch.cuda.max_memory_allocated(device) - before) / large
        free = torch.cuda.mem_get_info(device)[0]
        most = min(most, int(MEMORY_SHARE * free / max(used, 1.0)))
    return choose((small, first), (large, second), most)


def choose(small: tuple[int, float], large: tuple[int, float], most: int) -> int:
    """The power of two nearest to the budget, from (tokens, seconds) of two batches."""
    each = (large[1] - small[1]) / (large[0] - small[0])
    start = small[1] - each * small[0]
    # Where the larger batch was not slower, the device has not been filled.
    wanted = max(start, 0.0) / (OVERHEAD * each) if each > 0 else most
    budget = SMALLEST
    while budget * 2**0.5 < wanted and budget * 2 <= most:
        budget *= 2
    return budget


def _seconds(run: Run, tokens: int, kind: str) -> float:
    """The best of a few, since other programs only ever add to it."""
    found = []
    for _ in range(REPEATS):
        if kind == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        run(tokens)
        if kind == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found)


def _place(model: str, device: str) -> Path:
    kind = torch.device(device).type
    processor = torch.cuda.get_device_name(device) if kind == "cuda" else platform.processor()
    machine = f"{kind} {processor} {platform.machine()} {torch.get_num_threads()}"
    name = blake2b(f"{model} {machine}".encode(), digest_size=16).hexdigest()
    return user_cache() / "batch-tokens" / f"{name}.json"


def _remembered(path: Path) -> int | None:
    try:
        found = json.loads(path.read_bytes())["batch_tokens"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) and found >= 1 else None


def _remember(path: Path, budget: int) -> None:
    # A cache that cannot be written costs the next run a probe, and nothing else.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"batch_tokens": budget}), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        log.info("the probed batch size cannot be kept: %s", error)
