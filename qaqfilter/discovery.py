"""Where plugins are found: entry points of installed distributions, and single files.

What takes long to load is told: every command waits for it.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

from qaqfilter.errors import PluginError

GROUP = "qaqfilter"
"""The entry-point group of plugins."""

SLOW = 1.0
"""Seconds from which on a plugin's loading is worth a line."""

BUNDLED = "qaqfilter "
"""How the distribution of bundled plugins begins, of which users cannot mend anything."""

_log = logging.getLogger(__name__)


def entry_points() -> list[tuple[EntryPoint, str]]:
    """Sorted by name; each distribution once (the first on the path wins, as for imports)."""
    found: dict[tuple[str, str], tuple[EntryPoint, str]] = {}
    for dist in distributions():
        for entry in dist.entry_points:
            if entry.group == GROUP:
                name = dist.metadata["Name"] or "unknown"
                found.setdefault((entry.name, name), (entry, f"{name} {dist.version}"))
    return [found[key] for key in sorted(found)]


def import_file(path: Path) -> object:
    """Import a plugin from a file. Raises PluginError with the cause."""
    if not path.is_file():
        raise PluginError(f"--plugin {path}: no such file")
    name = "qaqfilter_file_" + re.sub(r"\W", "_", path.stem)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"--plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PluginError(f"--plugin {path}: {type(error).__name__}: {error}") from error
    return module


def is_installed(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def timed(plugin: str, distribution: str, seconds: dict[str, float]) -> Iterator[None]:
    """Put into `seconds` how long it takes to load a plugin; what is slow is logged."""
    started = time.perf_counter()
    yield
    seconds[plugin] = time.perf_counter() - started
    if seconds[plugin] >= SLOW and not distribution.startswith(BUNDLED):
        _log.info("%s", told_slow(plugin, distribution, seconds[plugin]))


def told_slow(plugin: str, distribution: str, seconds: float) -> str:
    """That a plugin took long to load, and the way out."""
    return (
        f"slow: {plugin} ({distribution}) took {seconds:.1f} s to load, in every command: let it "
        "import heavy packages inside `create`"
    )
