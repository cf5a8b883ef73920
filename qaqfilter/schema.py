"""The JSON Schema of a recipe: the core's keys, and for every `use` the options of its plugin.

It is written for editors, in draft 7: the YAML language server of most editors has known later
drafts for a short time only. What the schema refuses, `qaqfilter validate` refuses too, but for
numbers in quotes and the like; what goes by several keys at once, `validate` alone can tell.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from qaqfilter.manager import PluginManager
from qaqfilter.options import MODEL_NAME, RUN_SEED, fields_marked
from qaqfilter.presets import preset_keys
from qaqfilter.recipe_keys import (
    InputKeys,
    ModelKeys,
    OutputKeys,
    RecipeKeys,
    RunKeys,
    StepKeys,
)

BLOCKS: dict[str, tuple[str, type[BaseModel] | None]] = {
    "input": ("source", InputKeys),
    "output": ("sink", OutputKeys),
    "prompt": ("prompt", None),
    "model": ("backend", ModelKeys),
    "step": ("selector", StepKeys),
    "executor": ("executor", None),
}
"""Kinds of blocks: what their `use` names, and the keys that the core adds."""

Json = dict[str, Any]


def recipe_schema(manager: PluginManager) -> Json:
    """The schema (draft 7) for the plugins that are installed."""
    definitions: Json = {}
    top = _schema_of(RecipeKeys, definitions)
    for block, (kind, core) in BLOCKS.items():
        choices = [_choice(manager, kind, name, core, definitions) for name in manager.names(kind)]
        if kind == "selector":
            choices += [_preset(manager, name, definitions) for name in manager.names("preset")]
        definitions[block] = {"oneOf": choices}
    properties = top["properties"]
    for block in ("input", "output"):
        properties[block] |= _ref(block)
    _offer_prompt(properties)
    properties["models"]["additionalProperties"] = _ref("model")
    properties["steps"]["items"] = _ref("step")
    definitions[RunKeys.__name__]["properties"]["executor"] |= {
        "anyOf": [{"enum": manager.names("executor")}, _ref("executor")]
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "qaqfilter recipe",
        **_as_draft_7(top),
        "definitions": {name: _as_draft_7(definitions[name]) for name in sorted(definitions)},
    }


def _choice(
    manager: PluginManager,
    kind: str,
    name: str,
    core: type[BaseModel] | None,
    definitions: Json,
) -> Json:
    """The block for one component. An editor tells the choices apart by their `use`."""
    component = manager.component(kind, name)
    own = _schema_of(component.config, definitions, f"{kind}.{name}.")
    ours = _schema_of(core, definitions) if core is not None else {}
    # A key that both know goes to the core.
    properties = ours.get("properties", {})
    properties |= {k: v for k, v in own.get("properties", {}).items() if k not in properties}
    _offer_prompt(properties)
    properties.pop("preset", None)  # a choice of its own
    # What the loader fills in is not required of the writer.
    filled = {
        field
        for marker in (MODEL_NAME, RUN_SEED)
        for field in fields_marked(component.config, marker)
    }
    required = [f for f in own.get("required", []) if f not in filled]
    return {
        "type": "object",
        "description": component.summary,
        "properties": {"use": {"const": name, "description": component.summary}, **properties},
        "required": ["use", *ours.get("required", []), *required],
        "additionalProperties": False,
    }


def _preset(manager: PluginManager, name: str, definitions: Json) -> Json:
    """A step by its preset: the choice of its selector, of which the preset fills in some keys."""
    keys = preset_keys(manager, name)
    choice = _choice(manager, "selector", keys["use"], StepKeys, definitions)
    summary = manager.component("preset", name).summary
    return choice | {
        "description": summary,
        "properties": {"preset": {"const": name, "description": summary}, **choice["properties"]},
        "required": ["preset", *(key for key in choice["required"] if key not in keys)],
    }


def _offer_prompt(properties: Json) -> None:
    """A `prompt` is a block of its own, or left out."""
    if "prompt" in properties:
        properties["prompt"] |= {"anyOf": [_ref("prompt"), {"type": "null"}]}


def _schema_of(model: type[BaseModel], definitions: Json, owner: str = "") -> Json:
    """A model's schema; models inside it become definitions.

    Their names begin with `owner`: two plugins may have models of one name.
    """
    schema = model.model_json_schema(ref_template=f"#/definitions/{owner}{{model}}")
    found = schema.pop("$defs", {})
    definitions |= {f"{owner}{name}": inner for name, inner in found.items()}
    return schema


def _ref(definition: str) -> Json:
    return {"$ref": f"#/definitions/{definition}"}


def _as_draft_7(schema: Any) -> Any:
    """pydantic's draft 2020-12 in the words of draft 7, without the titles that it makes up."""
    if isinstance(schema, list):
        return [_as_draft_7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    told: Json = {}
    for key, value in schema.items():
        if key == "properties":
            told[key] = {name: _as_draft_7(inner) for name, inner in value.items()}
        elif key in ("default", "const", "enum"):  # data, not a schema
            told[key] = value
        elif key != "title":
            told["items" if key == "prefixItems" else key] = _as_draft_7(value)
    if "$ref" in told and len(told) > 1:  # in draft 7 nothing counts beside a reference
        told["allOf"] = [{"$ref": told.pop("$ref")}]
    return told
