"""The Python files of the standard library or of a package, found without importing it."""

from __future__ import annotations

import importlib.util
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from qaqfilter import SourceError

_SKIPPED = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "idlelib",
        "lib2to3",
        "site-packages",
        "test",
        "tests",
        "turtledemo",
    }
)


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """(module name, file), sorted by name. `stdlib` is the standard library.

    Raises SourceError where there is no such package, or none of its files is Python source.
    """
    found = sorted(_stdlib() if package == "stdlib" else _package(package))
    if not found:
        raise SourceError(f"docstrings: {package} has no Python source files")
    yield from found


def _stdlib() -> Iterator[tuple[str, Path]]:
    yield from _below(Path(sysconfig.get_path("stdlib")), ())


def _package(name: str) -> Iterator[tuple[str, Path]]:
    # For a top-level name this looks at the path only; nothing of the package runs.
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a spec: __main__
        spec = None
    if spec is None:
        raise SourceError(f"docstrings: no package {name!r} is installed here")
    if spec.submodule_search_locations is not None:
        for folder in spec.submodule_search_locations:
            yield from _below(Path(folder), (name,))
    elif spec.origin is not None and spec.origin.endswith(".py"):
        yield name, Path(spec.origin)


def _below(root: Path, prefix: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if _SKIPPED.isdisjoint(parts):
            name = parts[:-1] if parts[-1] == "__init__" else parts
            yield ".".join((*prefix, *name)) or "__init__", path
