"""From data to a recipe that runs as it is: the source, the layout, and a chain to begin with."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from qaqfilter.addresses import is_address
from qaqfilter.errors import PluginError, QaqfilterError, RecipeError, SourceError, UsageError
from qaqfilter.layouts import detect
from qaqfilter.manager import PluginManager
from qaqfilter.options import LOCATION, STDOUT, data_folder, fields_marked
from qaqfilter.printable import printable
from qaqfilter.protocols import Source
from qaqfilter.recipe import load_recipe
from qaqfilter.schema import recipe_schema
from qaqfilter.starting_text import Draft
from qaqfilter.types import Record

SCHEMA = "qaqfilter.schema.json"
LOOK_AT = 100
"""Records that are looked at for a good one."""
ENDINGS = {".gguf": "llamacpp"}
"""Backends for models of a kind, where the name tells; others go to OTHERS."""
OTHERS = "transformers"


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


def backend_for(manager: PluginManager, model: str) -> str:
    """The backend that a recipe begins with: for an embedded model one that is installed."""
    if not model.startswith("builtin:"):
        return ENDINGS.get(Path(model).suffix.lower(), OTHERS)
    for name in sorted(manager.names("backend"), key=lambda name: _needs(manager, name)):
        try:
            component = manager.require("backend", name)
        except PluginError:
            continue
        if fields_marked(component.config, LOCATION):
            return name
    raise PluginError("no backend that reads models is installed; `qaqfilter plugins` lists them")


def _needs(manager: PluginManager, backend: str) -> bool:
    """Those that need nothing come first: they start at once, and embedded models are tiny."""
    return manager.component("backend", backend).needs is not None


def location_for(model: str, folder: Path) -> str:
    """A model as a recipe in `folder` names it: a path beside it, or what was given."""
    return _relative(model, folder) if Path(model).exists() else model


def output_for(output: str, folder: Path) -> str:
    """A run directory as a recipe in `folder` names it."""
    as_is = output.startswith("~") or "${" in output or is_address(output) or output == STDOUT
    return output if as_is else _relative(output, folder)


def sink_for(manager: PluginManager, source: str) -> str:
    """The sink of the source's own format, where there is one: records then stay as they are."""
    names = manager.names("sink")
    return source if source in names else names[0]


def write_draft(
    draft: Draft, path: Path, manager: PluginManager, *, replace: bool
) -> tuple[Path, Path]:
    """Write a recipe and the schema beside it, once the recipe is known to be valid.

    Raises UsageError where a recipe is there and may not be replaced, RecipeError where the draft
    is not valid (a backend that is not installed, say).
    """
    if path.exists() and not replace:
        raise UsageError(f"{path} is there; --force overwrites it, -o names another file")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(draft.text(SCHEMA), encoding="utf-8")
        try:
            load_recipe(partial, manager)
        except RecipeError as error:
            shown = [problem.replace(str(partial), str(path)) for problem in error.problems]
            raise RecipeError(shown) from None
        schema = path.with_name(SCHEMA)
        schema.write_bytes(orjson.dumps(recipe_schema(manager), option=orjson.OPT_INDENT_2) + b"\n")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path, schema


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
    path = _relative(name, folder)
    return str(Path(name).absolute()) if path.startswith("~") else path


def _files(manager: PluginManager, name: str) -> list[str]:
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
    if not Path(name).exists():
        return _relative("", folder, pattern=name)
    literal = glob.escape(_relative(name, folder)).replace("${", "[$]{")
    return f"[~]{literal[1:]}" if literal.startswith("~") else literal


def _relative(name: str, folder: Path, *, pattern: str = "") -> str:
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
