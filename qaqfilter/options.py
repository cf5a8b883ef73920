"""Base class and field types for a plugin's options in the recipe."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo


class Options(BaseModel):
    """Options of a component: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Marker(str):
    """Metadata on a field that tells the recipe loader what the field holds."""


MODEL_NAME = Marker("model name")
RUN_SEED = Marker("run seed")
LOCATION = Marker("model location")


def recipe_folder(info: ValidationInfo) -> Path:
    """The folder that relative paths are relative to: the recipe's, else the current one."""
    context: dict[str, Any] = info.context or {}
    return Path(context.get("folder", "."))


def _against_recipe(value: str, info: ValidationInfo) -> str:
    return str(recipe_folder(info) / Path(value).expanduser())


class PathPattern(str):
    """A path or glob pattern of files that a source reads; see `overlap.py`."""

    __slots__ = ()


def _pattern_against_recipe(value: str, info: ValidationInfo) -> PathPattern:
    """Brackets and stars in the folder's own name are no pattern; those in the value are."""
    return PathPattern(Path(glob.escape(str(recipe_folder(info)))) / Path(value).expanduser())


def _location(value: str, info: ValidationInfo) -> str:
    """A path beside the recipe wins over a hub id; a scheme is left to its plugin."""
    scheme, colon, _ = value.partition(":")
    if colon and len(scheme) > 1:
        return value
    path = recipe_folder(info) / Path(value).expanduser()
    if path.exists():
        return f"path:{path}"
    looks_local = value.startswith((".", "/", "~", "\\")) or value.endswith((".gguf", "/")) or colon
    if looks_local or value.count("/") > 1:
        raise ValueError(f"no such file or folder: {path}")
    return f"hf:{value}"


RecipePath = Annotated[str, AfterValidator(_against_recipe)]
"""A path, absolute or relative to the recipe."""

RecipeGlob = Annotated[str, AfterValidator(_pattern_against_recipe)]
"""A path or glob pattern, absolute or relative to the recipe."""

ModelLocation = Annotated[str, AfterValidator(_location), LOCATION]
"""A folder, a file, a hub id, or ``scheme:rest``; comes out as ``scheme:rest``."""

ModelName = Annotated[str, MODEL_NAME, Field(description="A name from the recipe's `models`.")]
"""A model of the recipe. May be left out of a recipe that has just one model."""

RunSeed = Annotated[int, RUN_SEED]
"""A seed; `run.seed` of the recipe where the step names none."""


def fields_marked(config: type[BaseModel], marker: Marker) -> list[str]:
    """Names of the fields of `config` that carry `marker`."""
    return [name for name, info in config.model_fields.items() if marker in info.metadata]
