"""A run's recipe and input as plain data, to be made anew in another process or on another machine.

Package ─pickled─▶ worker: plugins loaded, recipe checked, input found there
SharedWindows ─divided─▶ WindowRange ─pickled─▶ worker: its part of the input read there
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np

from qaqfilter.errors import UsageError
from qaqfilter.input_parts import InputPart
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.protocols import ReadsParts, Source
from qaqfilter.recipe import Recipe, build_recipe
from qaqfilter.spooling import Spools
from qaqfilter.stream import RecordStream
from qaqfilter.types import Ints, Window
from qaqfilter.yamlfile import YamlFile


@dataclass(frozen=True, slots=True)
class Package:
    """What a worker needs of a run.

    Attributes
    ----------
    recipe: the resolved recipe.
    path: what names it in messages; its paths are absolute by now.
    plugins: files that were given with ``--plugin``: their names and contents.
    parts: the input as it was surveyed.
    limit: most items that are read, as for ``--limit``.
    spool: the folder with copies of what can be read only once.
    """

    recipe: dict[str, Any]
    path: Path
    plugins: tuple[tuple[str, bytes], ...]
    parts: tuple[InputPart, ...]
    limit: int | None
    spool: Path | None


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A run, made anew."""

    recipe: Recipe
    manager: PluginManager
    stream: RecordStream


def packed(recipe: Recipe, manager: PluginManager, stream: RecordStream) -> Package:
    """What travels of a run. Raises UsageError where its records are in this process alone."""
    offer = manager.offers.get(("source", recipe.source.component.name))
    if offer is None or offer.plugin.startswith("qaqfilter."):
        raise UsageError(
            "records in memory cannot be handed to other processes: write them to a file and run "
            "a recipe over it, or leave run.executor at local"
        )
    files = tuple((path.name, path.read_bytes()) for path in manager.files)
    return Package(
        recipe.resolved(),
        recipe.path,
        files,
        tuple(stream.parts),
        stream.limit,
        stream.spool,
    )


def unpacked(package: Package) -> Unpacked:
    """The run of a package; that of the latest one is kept, for the next thing that comes of it.

    Raises PluginError and RecipeError where this machine lacks what the recipe asks for.
    """
    key = blake2b(pickle.dumps(package)).digest()
    if key not in _LATEST:
        made = _unpacked(package)
        _LATEST.clear()
        _LATEST[key] = made
    return _LATEST[key]


_LATEST: dict[bytes, Unpacked] = {}


def _unpacked(package: Package) -> Unpacked:
    with tempfile.TemporaryDirectory(prefix="qaqfilter-") as folder:
        files = [Path(folder) / name for name, _ in package.plugins]
        for path, (_, content) in zip(files, package.plugins, strict=True):
            path.write_bytes(content)
        manager = load_plugins(tuple(files))
    recipe = build_recipe(YamlFile(str(package.path), package.recipe), package.path, manager)
    source: Source = recipe.source.make()
    if isinstance(source, Spools) and package.spool is not None:
        source.use_spool(package.spool)
    # Not `annotatable`: the survey has looked for the field already.
    stream = RecordStream(
        source,
        recipe.input,
        package.limit,
        package.parts,
        plugin=recipe.source.plugin,
        spool=package.spool,
    )
    return Unpacked(recipe, manager, stream)


@dataclass(frozen=True, slots=True)
class WindowRange:
    """Consecutive windows, which can be pickled and read in any process.

    Attributes
    ----------
    index: of the first window.
    part: the number of the part that the reading begins with; `first` is its first row.
    stop: the row before which the reading ends, the next range's `first`.
    rows: those of the windows, ascending; the last may be at `stop` or behind.
    """

    package: Package
    index: int
    part: int
    first: int
    stop: int
    rows: Ints
    size: int

    def __iter__(self) -> Iterator[Window]:
        """Read the input. Raises SourceError where it is not what was surveyed."""
        stop = max(self.stop, int(self.rows[-1]) + 1)
        wanted = np.zeros(stop - self.first + 1, dtype=np.bool_)
        wanted[self.rows - self.first] = True
        # One more than is wanted is asked for: so what ends at `stop` is checked, too.
        found = compress(unpacked(self.package).stream.read_from(self.part), wanted.tobytes())
        for at in range(0, len(self.rows), self.size):
            rows = self.rows[at : at + self.size]
            index = self.index + at // self.size
            yield Window(index, rows, tuple(islice(found, len(rows))))
        next(found, None)


@dataclass(frozen=True, slots=True)
class SharedWindows:
    """The windows of a stage. Iterated, they are read here; divided, wherever the ranges go."""

    stream: RecordStream
    rows: Ints
    size: int
    package: Callable[[], Package]

    def __iter__(self) -> Iterator[Window]:
        """Every window, in order."""
        return self.stream.windows(self.rows, self.size)

    def divided(self) -> Sequence[WindowRange]:
        """All windows in ranges, one for each part of the input in which a window begins.

        A window belongs to where it begins, whichever process reads it: so windows are the same
        for every division. One range where the source cannot begin in the middle. Raises
        UsageError where the input cannot travel.
        """
        package = self.package()
        if not len(self.rows):
            return []
        sizes = [part.records for part in package.parts]
        ends = np.cumsum(sizes) if isinstance(self.stream.source, ReadsParts) else [sum(sizes)]
        begins = self.rows[:: self.size]
        parts, windows = np.unique(np.searchsorted(ends, begins, side="right"), return_index=True)
        firsts = [int(ends[part]) - sizes[part] if len(ends) > 1 else 0 for part in parts]
        stops = [*firsts[1:], self.stream.records]
        nexts = [*windows[1:], len(begins)]
        return [
            WindowRange(
                package,
                int(index),
                int(part),
                first,
                stop,
                self.rows[index * self.size : after * self.size],
                self.size,
            )
            for index, after, part, first, stop in zip(
                windows, nexts, parts, firsts, stops, strict=True
            )
        ]
