"""Steps that plugins have written, by name: ``preset: superfiltering``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qaqfilter.blocks import BlockReader
from qaqfilter.errors import PluginError
from qaqfilter.manager import PluginManager


def preset_keys(manager: PluginManager, name: str) -> Mapping[str, Any]:
    """The keys of a step that the preset fills in, `use` among them. Raises PluginError."""
    component = manager.require("preset", name)
    keys: Mapping[str, Any] = component.create(component.config())
    if not isinstance(keys, Mapping) or not isinstance(keys.get("use"), str):
        raise PluginError(f"the preset {name!r} names no selector: it must give `use`")
    return keys


def with_preset(reader: BlockReader, raw: Any, location: tuple[str | int, ...]) -> Any:
    """A step as its preset fills it in; what the step says itself stands, whole.

    A step without a preset comes back as it is; None where the preset was complained of.
    """
    if not isinstance(raw, dict) or "preset" not in raw:
        return raw
    name = raw["preset"]
    own = {key: value for key, value in raw.items() if key != "preset"}
    if not isinstance(name, str):
        known = ", ".join(reader.manager.names("preset"))
        reader.complain((*location, "preset"), f"must be the name of a preset; there are: {known}")
        return None
    try:
        keys = preset_keys(reader.manager, name)
    except PluginError as error:
        reader.complain((*location, "preset"), str(error))
        return None
    use = own.get("use", keys["use"])
    if use != keys["use"]:
        reader.complain(
            (*location, "use"),
            f"the preset {name!r} is a step of `use: {keys['use']}`, which need not be written; "
            f"for {use!r} remove the preset",
        )
        return None
    return {**keys, **own}
