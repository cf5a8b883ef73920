"""Base class and field types for a plugin's options in the recipe."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
)

from qaqfilter.addresses import STDIN, is_address, without_credentials


class Options(BaseModel):
    """Options of a component: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Marker(str):
    """Metadata on a field that tells the recipe loader what the field holds."""


MODEL_NAME = Marker("model name")
RUN_SEED = Marker("run seed")
LOCATION = Marker("model location")
COLUMNS = Marker("columns of earlier steps")

OPENS_MODELS = "opens_models"
"""Key of the validation context: False where no model is opened, so that its files may be gone."""

Weight = Annotated[float, Field(strict=True, allow_inf_nan=False)]
ColumnWeights = Annotated[dict[str, Weight], COLUMNS]
"""A weight for each of some columns `<step>.<column>`, of steps before this one."""


def recipe_folder(info: ValidationInfo) -> Path:
    """The folder that relative paths are relative to: the recipe's, else the current one."""
    context: dict[str, Any] = info.context or {}
    return Path(context.get("folder", "."))


def opens_models(info: ValidationInfo) -> bool:
    """Whether the files that models need have to be there."""
    return bool((info.context or {}).get(OPENS_MODELS, True))


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _filled_in(value: str, literal: Callable[[str], str] = str) -> Path:
    """A leading `~` and every ``${NAME}`` filled in, through `literal`; nothing else means more.

    What is filled in is not looked at again: a `~` or ``${NAME}`` in a variable is a plain name.
    """
    if "\0" in value:
        raise ValueError("a path holds no NUL character; remove it")
    parts = Path(value).parts
    home = ""
    if parts and parts[0].startswith("~"):
        try:
            home = literal(str(Path(parts[0]).expanduser()))
        except RuntimeError:
            raise ValueError(f"nobody knows the home folder {parts[0]!r}; write it out") from None
        value = str(Path(*parts[1:]))
    return Path(home, _VARIABLE.sub(lambda found: literal(_variable(found[1])), value))


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:  # an empty one would make an absolute path of ${NAME}/data
        raise ValueError(
            f"the environment variable {name} is not set, or empty: set it, as in "
            f"{name}=/some/folder qaqfilter ..., or write the path out"
        )
    return value


def _beside_recipe(folder: Path, path: Path) -> Path:
    """`path` as the recipe means it; the manifest must be able to hold it."""
    whole = folder / path
    try:
        str(whole).encode()
    except UnicodeEncodeError:
        raise ValueError(f"the path {str(whole)!r} is not UTF-8; rename that folder") from None
    return whole


def _address(value: str) -> str:
    """An address as it is: a stranger's recipe must not send what a variable holds somewhere."""
    if "\0" in value:
        raise ValueError("an address holds no NUL character; remove it")
    if _VARIABLE.search(value):
        raise ValueError(
            "in an address no ${NAME} is filled in, since a recipe could send secrets away so; "
            'write it out, or have the shell do it: --set output.path="s3://$BUCKET/out"'
        )
    return value


def _anywhere_against_recipe(value: str, info: ValidationInfo) -> str:
    return _address(value) if is_address(value) else against_recipe(value, info)


def against_recipe(value: str, info: ValidationInfo) -> str:
    """`value` as the recipe means it. Raises ValueError for an address, or no path."""
    if is_address(value):
        raise ValueError(f"{without_credentials(value)}: this must be a path of this machine")
    return str(_beside_recipe(recipe_folder(info), _filled_in(value)))


class PathPattern(str):
    """A path or glob pattern of files that a source reads; see `overlap.py`."""

    __slots__ = ()


def _pattern_against_recipe(value: str, info: ValidationInfo) -> PathPattern:
    """Brackets and stars are a pattern where the recipe writes them, and in nothing filled in."""
    if value == STDIN:
        return PathPattern(value)
    if value.startswith("file://"):
        value = value.removeprefix("file://")
    if is_address(value):
        return PathPattern(_address(value))
    folder = Path(glob.escape(str(recipe_folder(info))))
    return PathPattern(_beside_recipe(folder, _filled_in(value, glob.escape)))


def _location(value: str, info: ValidationInfo) -> str:
    """A path beside the recipe wins over a hub id; a scheme is left to its plugin.

    ``${NAME}`` makes a path of it: no hub id holds a `$`, and what a variable holds must not
    decide what is fetched. Behind a scheme nothing is filled in.
    """
    scheme, colon, _ = value.partition(":")
    if colon and len(scheme) > 1:
        return value
    path = _beside_recipe(recipe_folder(info), _filled_in(value))
    if path.exists():
        return f"path:{path}"
    looks_local = value.startswith((".", "/", "~", "\\")) or value.endswith((".gguf", "/")) or colon
    if looks_local or value.count("/") > 1 or _VARIABLE.search(value):
        if opens_models(info):
            raise ValueError(f"no such file or folder: {path}")
        return f"path:{path}"
    return f"hf:{value}"


class PathFolder(str):
    """``path:`` and a folder whose files a source reads; see `overlap.py`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Metadata on a source's field for a folder: `told_by` are names of files, any of which shows
    `qaqfilter init` that a folder is one for this source."""

    told_by: tuple[str, ...]


def _folder_or_hub_id(value: str, info: ValidationInfo) -> str:
    """Like a model location, but a folder, and a hub id always has an organisation."""
    hub = "hf://datasets/"
    located = _location(f"hf:{value.removeprefix(hub)}" if value.startswith(hub) else value, info)
    scheme, _, rest = located.partition(":")
    if is_address(value) and not value.startswith(hub):
        raise ValueError("a data set is read from a folder or from the hub; copy it to a folder")
    if scheme == "path":
        folder = _beside_recipe(recipe_folder(info), Path(rest))
        if not folder.is_dir():
            why = "is a file" if folder.exists() else "does not exist"
            raise ValueError(f"{folder} {why}; name the folder of a data set, or a hub id")
        return PathFolder(f"path:{folder}")
    if scheme != "hf":
        raise ValueError(f"no data set is found by {scheme}:; name a folder, or a hub id: org/name")
    if rest.count("/") != 1 or not all(rest.split("/")):
        raise ValueError(
            f"there is no such folder beside the recipe, and {rest!r} is no hub id, which is "
            "org/name: check the spelling"
        )
    return located


RecipeAddress = Annotated[str, AfterValidator(_anywhere_against_recipe)]
"""A path against the recipe, or an address (``s3://bucket/folder``), where nothing is filled in."""

STDOUT = "-"
"""In place of a path: standard output."""


def _output_against_recipe(value: str, info: ValidationInfo) -> str:
    return value if value == STDOUT else _anywhere_against_recipe(value, info)


RecipeOutput = Annotated[
    str, AfterValidator(_output_against_recipe), PlainSerializer(without_credentials)
]
"""A RecipeAddress, or ``-``; written out, it has no credentials."""

RecipeGlob = Annotated[
    str, AfterValidator(_pattern_against_recipe), PlainSerializer(without_credentials)
]
"""A path or address, or a glob pattern of either, or ``-``; ``~`` and ``${NAME}`` as there. Written
out, it has no credentials."""

ModelLocation = Annotated[str, AfterValidator(_location), LOCATION]
"""A folder, a file, a hub id, or ``scheme:rest``; comes out as ``scheme:rest``."""

FolderOrHubId = Annotated[str, AfterValidator(_folder_or_hub_id)]
"""A folder beside the recipe, which wins, or a data set on the hub, ``org/name`` or
``hf:org/name``; comes out as a PathFolder, or as ``hf:org/name``."""

ModelName = Annotated[str, MODEL_NAME, Field(description="A name from the recipe's `models`.")]
"""A model of the recipe. May be left out of a recipe that has just one model."""

RunSeed = Annotated[int, RUN_SEED]
"""A seed; `run.seed` of the recipe where the step names none."""


def data_folder(config: type[BaseModel]) -> DataFolder | None:
    """What marks the field `path` of a source that reads a folder as a whole; None elsewhere."""
    info = config.model_fields.get("path")
    found = (item for item in (info.metadata if info else ()) if isinstance(item, DataFolder))
    return next(found, None)


def fields_marked(config: type[BaseModel], marker: Marker) -> list[str]:
    """Names of the fields of `config` that carry `marker`."""
    return [name for name, info in config.model_fields.items() if marker in info.metadata]
