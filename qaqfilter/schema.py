"""The JSON Schema of a recipe: the core's keys, and for every `use` the options of its plugin."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from qaqfilter.manager import PluginManager
from qaqfilter.options import MODEL_NAME, RUN_SEED, fields_marked
from qaqfilter.recipe_keys import InputKeys, ModelKeys, OutputKeys, RecipeKeys, StepKeys

PREFIX = "#/$defs/{model}"


class _NoKeys(BaseModel):
    """A block to which the core adds nothing."""


def recipe_schema(manager: PluginManager) -> dict[str, Any]:
    """The schema (draft 2020-12) for the plugins that are installed."""
    definitions: dict[str, Any] = {}
    top = _schema_of(RecipeKeys, definitions)
    blocks: dict[str, tuple[str, type[BaseModel]]] = {
        "input": ("source", InputKeys),
        "output": ("sink", OutputKeys),
        "prompt": ("prompt", _NoKeys),
        "model": ("backend", ModelKeys),
        "step": ("selector", StepKeys),
        "executor": ("executor", _NoKeys),
    }
    for block, (kind, core) in blocks.items():
        choices = [_choice(manager, kind, name, core, definitions) for name in manager.names(kind)]
        definitions[block] = {"oneOf": choices}
    properties = top["properties"]
    for block in ("input", "output", "prompt"):
        properties[block] = {"$ref": f"#/$defs/{block}"}
    properties["models"]["additionalProperties"] = {"$ref": "#/$defs/model"}
    properties["steps"]["items"] = {"$ref": "#/$defs/step"}
    definitions["RunKeys"]["properties"]["executor"] = {
        "anyOf": [{"enum": manager.names("executor")}, {"$ref": "#/$defs/executor"}]
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "qaqfilter recipe",
        **top,
        "$defs": dict(sorted(definitions.items())),
    }


def _choice(
    manager: PluginManager,
    kind: str,
    name: str,
    core: type[BaseModel],
    definitions: dict[str, Any],
) -> dict[str, Any]:
    component = manager.component(kind, name)
    own = _schema_of(component.config, definitions)
    ours = _schema_of(core, definitions)
    for schema in (own, ours):
        if "prompt" in schema.get("properties", {}):
            schema["properties"]["prompt"] = {"$ref": "#/$defs/prompt"}
    # What the loader fills in is not required of the writer.
    filled = {
        field
        for marker in (MODEL_NAME, RUN_SEED)
        for field in fields_marked(component.config, marker)
    }
    required = [f for f in own.get("required", []) if f not in filled]
    return {
        "type": "object",
        "title": f"{name} ({kind})",
        "description": component.summary,
        "properties": {
            "use": {"const": name},
            **ours.get("properties", {}),
            **own.get("properties", {}),
        },
        "required": ["use", *ours.get("required", []), *required],
        "additionalProperties": False,
    }


def _schema_of(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=PREFIX)
    definitions |= schema.pop("$defs", {})
    return schema
