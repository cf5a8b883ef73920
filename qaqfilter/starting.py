"""From data to a recipe that runs as it is: the source, the layout, and a chain to begin with."""

from __future__ import annotations

from pathlib import Path

import orjson

from qaqfilter.addresses import is_address
from qaqfilter.errors import PluginError, RecipeError, UsageError
from qaqfilter.looking import relative
from qaqfilter.manager import PluginManager
from qaqfilter.options import LOCATION, STDOUT, fields_marked
from qaqfilter.recipe import load_recipe
from qaqfilter.schema import recipe_schema
from qaqfilter.starting_text import Draft

SCHEMA = "qaqfilter.schema.json"
ENDINGS = {".gguf": "llamacpp"}
"""Backends for models of a kind, where the name tells; others go to OTHERS."""
OTHERS = "transformers"


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
    return relative(model, folder) if Path(model).exists() else model


def output_for(output: str, folder: Path) -> str:
    """A run directory as a recipe in `folder` names it."""
    as_is = output.startswith("~") or "${" in output or is_address(output) or output == STDOUT
    return output if as_is else relative(output, folder)


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
