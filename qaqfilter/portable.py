"""A run's recipe and input as plain data, to be made anew in another process or on another machine.

Package ─pickled─▶ worker: plugins loaded, recipe checked, input found there
SharedWindows ─divided─▶ Package + WindowRange ─pickled─▶ worker: its part of the input read there
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import qaqfilter.pickling  # noqa: F401 - registers how records travel
from qaqfilter.errors import QaqfilterError, UsageError
from qaqfilter.execution import Divided
from qaqfilter.input_parts import InputPart
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.options import LOCATION, fields_marked
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
    parts: the input as it was surveyed; empty before that.
    limit: most items that are read, as for ``--limit``.
    spool: the folder with copies of what can be read only once.
    """

    recipe: dict[str, Any]
    path: Path
    plugins: tuple[tuple[str, bytes], ...]
    parts: tuple[InputPart, ...] = ()
    limit: int | None = None
    spool: Path | None = None

    @property
    def models(self) -> list[str]:
        """Names of the recipe's models."""
        return [*self.recipe["models"]]

    def windows(self, part: WindowRange) -> Iterator[Window]:
        """Read a range. Raises SourceError where the input is not what was surveyed."""
        return part.read(unpacked(self).stream)

    def problems(self) -> list[str]:
        """What this machine lacks for the run: plugins, files of the recipe, models.

        Files at addresses are left to the reading, which names them.
        """
        try:
            run = unpacked(self)
        except QaqfilterError as error:
            return [str(error)]
        found = []
        for name, model in run.recipe.models.items():
            options = model.backend.options
            revision = getattr(options, "revision", None)
            for place in fields_marked(type(options), LOCATION):
                location = getattr(options, place)
                try:
                    if location is not None:
                        run.manager.locate(location, revision)
                except QaqfilterError as error:
                    found.append(f"models.{name}.{place}: {error}")
        return found


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A run, made anew."""

    recipe: Recipe
    manager: PluginManager
    stream: RecordStream


def can_travel(recipe: Recipe, manager: PluginManager) -> bool:
    """Whether other processes could read the records: those in memory are in this one alone."""
    offer = manager.offers.get(("source", recipe.source.component.name))
    return offer is not None and not offer.plugin.startswith("qaqfilter.")


def packed(recipe: Recipe, manager: PluginManager, stream: RecordStream | None = None) -> Package:
    """What travels of a run. Raises UsageError where its records are in this process alone."""
    if not can_travel(recipe, manager):
        raise UsageError(
            "records in memory cannot be handed to other processes: write them to a file and run "
            "a recipe over it, or leave run.executor at local"
        )
    files = tuple((path.name, path.read_bytes()) for path in manager.files)
    package = Package(recipe.resolved(), recipe.path, files)
    if stream is None:
        return package
    return Package(
        package.recipe, package.path, files, tuple(stream.parts), stream.limit, stream.spool
    )


def unpacked(package: Package) -> Unpacked:
    """The run of a package; that of the latest one is kept, for the next thing that comes of it.

    Raises PluginError and RecipeError where this machine lacks what the recipe asks for.
    """
    if not _LATEST or _LATEST[0].package != package:
        made = _Latest(package, _unpacked(package))
        _LATEST[:] = [made]
    return _LATEST[0].run


class _Latest(NamedTuple):
    package: Package
    run: Unpacked


_LATEST: list[_Latest] = []


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
    """Consecutive windows of `size` records, as the rows that they are made of.

    Attributes
    ----------
    index: of the first window.
    part: the number of the part that the reading begins with; `first` is its first row.
    stop: the row before which the reading ends, the next range's `first`.
    wanted: which of the rows from `first` on they are, as packed bits. Those behind `stop`, if
        any, end the last window.
    """

    index: int
    part: int
    first: int
    stop: int
    size: int
    wanted: bytes

    def read(self, stream: RecordStream) -> Iterator[Window]:
        """Read them of a stream."""
        bits = np.frombuffer(zlib.decompress(self.wanted), dtype=np.uint8)
        offsets = np.flatnonzero(np.unpackbits(bits))
        rows = self.first + offsets
        # One more than is wanted is asked for: so what ends at `stop` is checked, too.
        wanted = np.zeros(max(self.stop - self.first, int(offsets[-1]) + 1) + 1, dtype=np.bool_)
        wanted[offsets] = True
        found = compress(stream.read_from(self.part), wanted.tobytes())
        for at in range(0, len(rows), self.size):
            here = rows[at : at + self.size]
            yield Window(self.index + at // self.size, here, tuple(islice(found, len(here))))
        next(found, None)


def _bits(offsets: Ints, size: int) -> bytes:
    """At least `size` bits, compressed, with those at ascending `offsets` set."""
    wanted = np.zeros(max(size, int(offsets[-1]) + 1), dtype=np.bool_)
    wanted[offsets] = True
    return zlib.compress(np.packbits(wanted).tobytes(), 1)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a stage, read here, each time anew."""

    stream: RecordStream
    rows: Ints
    size: int

    def __iter__(self) -> Iterator[Window]:
        """Every window, in order."""
        return self.stream.windows(self.rows, self.size)


@dataclass(frozen=True, slots=True)
class SharedWindows(Windows):
    """The windows of a stage. Iterated, they are read here; divided, wherever the ranges go."""

    package: Callable[[], Package]

    def divided(self) -> Divided:
        """All windows in ranges, one for each part of the input in which a window begins.

        A window belongs to where it begins, whichever process reads it: so windows are the same
        for every division. One range where the source cannot begin in the middle. Raises
        UsageError where the input cannot travel.
        """
        package = self.package()
        if not len(self.rows):
            return Divided(package, [], 0)
        sizes = [part.records for part in package.parts]
        ends = np.cumsum(sizes) if isinstance(self.stream.source, ReadsParts) else [sum(sizes)]
        begins = self.rows[:: self.size]
        parts, windows = np.unique(np.searchsorted(ends, begins, side="right"), return_index=True)
        firsts = [int(ends[part]) - sizes[part] if len(ends) > 1 else 0 for part in parts]
        stops = [*firsts[1:], self.stream.records]
        nexts = [*windows[1:], len(begins)]
        ranges = [
            WindowRange(
                int(index),
                int(part),
                first,
                stop,
                self.size,
                _bits(self.rows[index * self.size : after * self.size] - first, stop - first),
            )
            for index, after, part, first, stop in zip(
                windows, nexts, parts, firsts, stops, strict=True
            )
        ]
        return Divided(package, ranges, len(begins))
