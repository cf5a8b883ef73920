"""Writes docs/recipe-reference.md from the models that validate recipes.

python tools/recipe_reference.py           writes the page
python tools/recipe_reference.py --check   exits 1 where the page is not what would be written

Only components of qaqfilter's own distribution are listed, so that a plugin that happens to be
installed beside it changes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from qaqfilter.keep import Keep, Strata
from qaqfilter.manager import Offer, PluginManager, load_plugins
from qaqfilter.named_paths import RecipePath
from qaqfilter.options import (
    MODEL_NAME,
    RUN_SEED,
    ModelLocation,
    RecipeGlob,
    RecipeOutput,
    fields_marked,
)
from qaqfilter.output_files import ByteCount
from qaqfilter.presets import preset_keys
from qaqfilter.recipe_keys import (
    InputKeys,
    ModelKeys,
    OutputKeys,
    RecipeKeys,
    RunKeys,
    StepKeys,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "recipe-reference.md"

HEAD = """\
<!-- Written by tools/recipe_reference.py; edit the models or that file, then run it again. -->

# Recipe reference

Every key of a recipe, block by block, with the options of the components that come with
qaqfilter. `qaqfilter plugins` lists what is installed on your machine, other people's plugins
included; `qaqfilter schema` prints the same keys as a JSON Schema, for your editor.

- A block with a `use` key takes the keys of its block *and* the options of what it uses, side by
  side.
- An unknown key is an error. So is a key that stands twice.
- A **path** is relative to the recipe. It may be absolute, and may begin with `~`. `${NAME}` is the
  environment's, which must have it; in a glob its value is literal text. A model location that is
  a path knows it too, and no other value does. Inside braces it needs quotes:
  `{path: "${DATA}/a.jsonl"}`.
- In an **address** (`s3://bucket/folder`) nothing is filled in; see
  [Runs](runs.md#somewhere-else-s3-and-the-like). A **size** is a number of bytes, or like `500MB`
  (10⁶ each) or `2GiB` (2³⁰ each).
- The file is YAML 1.2 without tags and merge keys; [Security](security.md#recipes) has its bounds.
- A **model location** is a folder, a file, a hub id (`owner/name`) or `scheme:rest`; see
  [model locations](#model-locations).
- A **model name** is a key of `models`. It may be left out of a recipe that has just one model.
- Where the default is empty, nothing takes the place of an option that is left out.
- Any value can be changed for one run: `--set steps.<id>.keep.fraction=0.1`.
"""

TAIL = """\
A location without a scheme is a path where such a file or folder exists beside the recipe, and
a hub id (`hf:`) otherwise.
"""

PRESETS = """\
`{id: coherent, preset: qaq, strong: one, weak: other}` is a step as the table has it; what the step
says itself stands. [Presets](presets.md) says what those of scripts are for.
"""

# Block of the recipe -> (heading, kind of component, the core's keys, what the heading is for).
BLOCKS: tuple[tuple[str, str, type[BaseModel] | None, str], ...] = (
    ("input", "source", InputKeys, "Where records come from."),
    ("models", "backend", ModelKeys, "Language models, each under a name of your choice."),
    (
        "prompt",
        "prompt",
        None,
        "How a record becomes text for a model. The block may stand in a step, in a model or at "
        "the top of the recipe; the first that is found, in this order, holds.",
    ),
    ("steps", "selector", StepKeys, "The filter chain: a list, worked through in its order."),
    ("output", "sink", OutputKeys, "Where results go."),
)

SECTIONS = {Keep: "[keep](#keep)", Strata: "[strata](#strata)", RunKeys: "[run](#run)"}
"""Models that have a section of their own."""

NAMES: dict[Any, str] = {
    **SECTIONS,
    Any: "block",
    bool: "true or false",
    float: "number",
    int: "whole number",
    str: "text",
}
LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
LONGEST_DEFAULT = 60


def main(arguments: list[str]) -> int:
    """Write the page, or check it; the exit code."""
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    manager = load_plugins()
    if manager.broken or manager.blocked:
        names = [broken.plugin for broken in manager.broken] + manager.blocked
        print(f"not every plugin could be loaded ({', '.join(names)}): the page would lack them")
        return 1
    text = reference(manager)
    if not arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is out of date: run python tools/recipe_reference.py")
        return 1
    return 0


def reference(manager: PluginManager) -> str:
    """The whole page."""
    parts = [HEAD, "## Top level\n", table(RecipeKeys)]
    for heading, kind, core, what in BLOCKS:
        parts += [f"## {heading}\n", f"{what}\n"]
        if core is not None:
            parts += [f"Keys for every {kind}:\n", table(core)]
        parts += [component(offer) for offer in own(manager, kind)]
        if heading == "steps":
            parts += ["## keep\n", prose(Keep), table(Keep)]
            parts += ["How the rules combine: [The keep rule](methods.md#the-keep-rule).\n"]
            parts += ["## strata\n", prose(Strata), table(Strata)]
            parts += ["## Presets\n", PRESETS, presets(manager)]
    parts += ["## run\n", "How to run.\n", table(RunKeys)]
    parts += [component(offer) for offer in own(manager, "executor")]
    parts += ["## Model locations\n", "What may stand before the colon of a model location:\n"]
    parts += [offered(manager, "model")]
    parts += [TAIL]
    if own(manager, "command"):
        parts += ["## Commands of plugins\n", offered(manager, "command")]
    return "\n".join(parts)


def own(manager: PluginManager, kind: str) -> list[Offer]:
    """What qaqfilter's distribution offers of a kind, sorted by name."""
    offers = [manager.offers[kind, name] for name in manager.names(kind)]
    return [offer for offer in offers if offer.distribution.split()[0] == "qaqfilter"]


def offered(manager: PluginManager, kind: str) -> str:
    """Names and summaries, as a table."""
    rows = [(f"`{o.component.name}`", o.component.summary) for o in own(manager, kind)]
    return grid(("name", "what it is"), rows)


def presets(manager: PluginManager) -> str:
    """What each preset fills in."""
    rows = [
        (f"`{name}`", offer.component.summary, f"`{flow(preset_keys(manager, name))}`")
        for offer in own(manager, "preset")
        for name in [offer.component.name]
    ]
    return grid(("preset", "what it is", "the keys that it fills in"), rows)


def flow(value: Any) -> str:
    """Plain data as YAML writes it in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(inner)}" for key, inner in value.items()) + "}"
    return str(value)


def component(offer: Offer) -> str:
    """One `use`: summary, needs, options."""
    made = offer.component
    parts = [f"### {offer.kind} `{made.name}`\n", f"`use: {made.name}`: {made.summary}.\n"]
    if made.needs is not None:
        parts.append(f"Needs `pip install '{made.needs.pip}'`.\n")
    parts.append(table(made.config))
    return "\n".join(parts)


def prose(model: type[BaseModel]) -> str:
    """A model's docstring, its lines joined."""
    return " ".join((model.__doc__ or "").split()) + "\n"


def table(model: type[BaseModel]) -> str:
    """The options of a model; those of models inside it follow, unless they have a section."""
    if not model.model_fields:
        return "No options.\n"
    rows, after = [], []
    for name, info in model.model_fields.items():
        if not info.description:
            raise SystemExit(f"{model.__module__}.{model.__qualname__}.{name}: no description")
        rows.append((f"`{name}`", type_of(info), default_of(info, model), info.description))
        if is_long(info.default):
            fence = f"```text\n{str(info.default).rstrip()}\n```\n"
            after.append(f"Default of `{name}`:\n\n{fence}")
        for inner in inner_models(info.annotation):
            after.append(f"Keys of `{name}`:\n\n{table(inner)}")
    return "\n".join([grid(("option", "type", "default", "description"), rows), *after])


def grid(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    cells = [heading, ("---",) * len(heading), *rows]
    lines = (f"| {' | '.join(map(_cell, row))} |" for row in cells)
    return "\n".join(lines).replace("| --- ", "|---").replace("--- |", "---|") + "\n"


def _cell(text: str) -> str:
    """One line; neither a table's bars nor HTML, except inside backticks."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(p if n % 2 else p.replace("<", "&lt;") for n, p in enumerate(parts))


def inner_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models inside a type that have no section of their own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in SECTIONS:
            yield annotation
        return
    for part in get_args(annotation):
        yield from inner_models(part)


def type_of(info: FieldInfo) -> str:
    """A field's type in a reader's words."""
    if MODEL_NAME in info.metadata:
        return "model name"
    return typed(info.annotation, info.metadata)


def typed(annotation: Any, metadata: Sequence[Any]) -> str:
    """A type in a reader's words; `metadata` is what Annotated adds to it.

    `None` is not told: an option that may be null is one that may be left out.
    """
    for named, alias in (
        ("path", RecipePath),
        ("path", RecipeGlob),
        ("path or address", RecipeOutput),
        ("size", ByteCount),
        ("model location", ModelLocation),
    ):
        if get_args(alias)[1] in metadata:
            return named
    limits = [
        f" {sign} {getattr(item, attribute):g}"
        for item in metadata
        for attribute, sign in LIMITS.items()
        if isinstance(getattr(item, attribute, None), int | float)
    ]
    return _bare(annotation) + " and".join(limits)


def _bare(annotation: Any) -> str:
    if annotation in NAMES:
        return NAMES[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return typed(arguments[0], _flattened(arguments[1:]))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    inner = [_bare(part) for part in arguments if part not in (NoneType, Ellipsis)]
    if origin in (Union, UnionType):
        name = " or ".join(inner)
    elif origin is list or Ellipsis in arguments:
        name = f"list of {inner[0]}"
    elif origin is tuple:
        name = f"[{', '.join(inner)}]"
    elif origin is dict or issubclass(annotation, BaseModel):
        name = "mapping"
    else:
        name = annotation.__name__
    return name


def _flattened(metadata: Sequence[Any]) -> list[Any]:
    """Annotated[..., Field(ge=0)] keeps its limits inside the Field."""
    flat: list[Any] = []
    for item in metadata:
        flat += item.metadata if isinstance(item, FieldInfo) else [item]
    return flat


def default_of(info: FieldInfo, model: type[BaseModel]) -> str:
    """What holds where the option is left out."""
    if RUN_SEED in info.metadata:
        return "`run.seed`"
    # Of two models both would be the same one, which no selector of two models means.
    if MODEL_NAME in info.metadata and len(fields_marked(model, MODEL_NAME)) == 1:
        return "the only model"
    if info.is_required():
        return "**required**"
    default = info.get_default(call_default_factory=True)
    return "see below" if is_long(default) else _written(default)


def _written(value: Any) -> str:
    """A value as it would be written in a recipe."""
    if value is None:
        return ""
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, str):
        return f"`{value if value.strip() else json.dumps(value)}`"
    return f"`{json.dumps(value, default=str).strip(chr(34))}`"


def is_long(default: object) -> bool:
    """Whether a default is too long for a table."""
    return isinstance(default, str) and len(default) > LONGEST_DEFAULT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
