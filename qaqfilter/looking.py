"""What data is given: the source plugin that reads it, its files, and the layout of a record."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qaqfilter.addresses import STDIN, is_address
from qaqfilter.errors import QaqfilterError, SourceError, UsageError
from qaqfilter.layouts import detect
from qaqfilter.manager import PluginManager
from qaqfilter.options import data_folder
from qaqfilter.printable import printable
from qaqfilter.protocols import Source
from qaqfilter.types import Record

LOOK_AT = 100
"""Records that are looked at for a good one."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about the data: source, files, and the layout where it has a name."""

    source: str
    files: int
    patterns: tuple[str, ...]
    layout: str | None
    stem: str


def look(
    manager: PluginManager,
    data: Sequence[str],
    folder: Path,
    *,
    source: str | None = None,
    fields: Mapping[str, str] | None = None,
    layout: str | None = None,
) -> Found:
    """Find the source plugin by the files' ending, else by trial, and the layout of a record.

    `data` are files or patterns relative to the current folder, or a folder that a source reads as
    a whole; `folder` is where the recipe goes. What is given is not looked for. Raises UsageError
    and SourceError, with what to do.
    """
    # From where the files are looked at: the recipe's folder may not be there yet.
    here = Path.cwd()
    source = source or _by_folder(manager, data)
    if source and source in manager.names("source") and _reads_folders(manager, source):
        files = list(data)
        patterns, paths = ([_as_folder(name, place) for name in data] for place in (folder, here))
    else:
        files = [file for name in data for file in _files(manager, name)]
        patterns, paths = ([_as_pattern(name, place) for name in data] for place in (folder, here))
    options: dict[str, Any] = {"path": paths[0] if len(paths) == 1 else paths}
    if fields:
        options["fields"] = dict(fields)
    if layout:
        options["layout"] = layout
    name = source or _by_ending(manager, files) or _by_trial(manager, files, options, here)
    record_fields = _first_fields(manager, name, options, here)
    known = "layout" in manager.component("source", name).config.model_fields
    if known and not fields and not layout:
        with suppress(SourceError):  # the source knows better what it reads
            layout = detect(record_fields)[0]
    stem = Path(files[0]).name.partition(".")[0] or "recipe"
    return Found(name, len(files), tuple(patterns), layout, stem)


def _reads_folders(manager: PluginManager, source: str) -> bool:
    return data_folder(manager.component("source", source).config) is not None


def _by_folder(manager: PluginManager, data: Sequence[str]) -> str | None:
    """The source that knows a folder by a file in it."""
    for name in manager.names("source"):
        found = data_folder(manager.component("source", name).config)
        if found and any(Path(folder, file).is_file() for folder in data for file in found.told_by):
            return name
    return None


def _as_folder(name: str, folder: Path) -> str:
    """A folder as a recipe names it; a name of which there is none is a hub id."""
    if not Path(name).exists():
        return name
    path = relative(name, folder)
    return str(Path(name).absolute()) if path.startswith("~") else path


def _files(manager: PluginManager, name: str) -> list[str]:
    if name == STDIN:
        raise UsageError("standard input is gone once it was looked at: save it to a file first")
    if is_address(name):
        return [name]
    if Path(name).is_dir():
        sources = " or ".join(n for n in manager.names("source") if _reads_folders(manager, n))
        whole = f", or have it read as a whole with --source {sources}" if sources else ""
        raise UsageError(
            f"{name} is a folder; name the files in it, as in {name.rstrip('/')}/*{whole}"
        )
    found = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not found:
        raise UsageError(f"no file matches {name}")
    return found


def _as_pattern(name: str, folder: Path) -> str:
    """The name as a source's `path`: what a pattern or a variable could mean is meant literally."""
    if is_address(name):
        return name
    if not Path(name).exists():
        return relative("", folder, pattern=name)
    literal = glob.escape(relative(name, folder)).replace("${", "[$]{")
    return f"[~]{literal[1:]}" if literal.startswith("~") else literal


def relative(name: str, folder: Path, *, pattern: str = "") -> str:
    """`name`, or a pattern in the current folder, as it is named from `folder`."""
    if Path(pattern or name).is_absolute():
        return pattern or name
    try:
        path = os.path.relpath(name or ".", folder)
    except ValueError:  # on another drive
        path = str(Path(name).absolute())
    if not pattern:
        return Path(path).as_posix()
    return pattern if path == "." else f"{glob.escape(Path(path).as_posix())}/{pattern}"


def _sources(manager: PluginManager) -> list[str]:
    """Sources that read files."""
    names = manager.names("source")
    return [n for n in names if "path" in manager.component("source", n).config.model_fields]


def _by_ending(manager: PluginManager, files: Sequence[str]) -> str | None:
    """A source is called what its files end in; a compression may stand behind it."""
    endings = {suffix[1:].lower() for file in files for suffix in Path(file).suffixes}
    return next((name for name in _sources(manager) if name in endings), None)


def _by_trial(
    manager: PluginManager, files: Sequence[str], options: Mapping[str, Any], folder: Path
) -> str:
    """The one source that finds a record in these files."""
    found: list[str] = []
    for name in _sources(manager):
        try:
            _first_fields(manager, name, options, folder)
        except (QaqfilterError, ValueError, OSError):
            continue
        found.append(name)
    if len(found) == 1:
        return found[0]
    several = "several sources read" if found else "no source reads"
    names = ", ".join(found or _sources(manager))
    raise UsageError(f"{several} {files[0]}; choose with --source ({names})")


def _first_fields(
    manager: PluginManager, name: str, options: Mapping[str, Any], folder: Path
) -> Mapping[str, Any]:
    """The fields of the first good record. Raises SourceError where there is none."""
    component = manager.require("source", name)
    try:
        checked = component.config.model_validate(options, context={"folder": folder})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UsageError(f"source {name!r} cannot read it: {problem['msg']}") from None
    source: Source = component.create(checked)
    first_bad = ""
    for item in islice(source.read(), LOOK_AT):
        if isinstance(item, Record):
            return item.fields
        first_bad = first_bad or f": {printable(item.error)} ({item.origin})"
    raise SourceError(f"there is no good record to look at{first_bad or ': the input is empty'}")
