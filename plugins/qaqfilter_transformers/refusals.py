"""What a model folder may not hold: ways to have pickles read, or code fetched, by the library.

transformers takes more from a folder than its weights. Each of these has to be asked for by the
person at the keyboard, or is not done at all:

- an index of shards may list any file, and what is not called .safetensors is unpickled;
- `transformers_weights` in config.json names the file of weights;
- adapter_config.json has an adapter loaded (pickled, where there is nothing else), and may name
  another model to go with it;
- an attention or experts implementation called `owner/name` is code from the hub.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qaqfilter import ModelError

_PICKLED = "only safetensors are loaded, since a pickle can run code"


def refuse_code(folder: Path, location: str) -> None:
    """Raise ModelError where loading `folder` would read a pickle or fetch code."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        shards = _json(index).get("weight_map")
        for name in sorted(map(str, shards.values())) if isinstance(shards, dict) else ():
            if not name.endswith(".safetensors") or Path(name).name != name:
                raise ModelError(
                    f"{location}: {index.name} lists {name!r} as weights; {_PICKLED}, and only "
                    "from the folder itself"
                )
    config = _json(folder / "config.json")
    weights = config.get("transformers_weights")
    if weights is not None and not str(weights).endswith((".safetensors", ".index.json")):
        raise ModelError(f"{location}: config.json names {weights!r} as weights; {_PICKLED}")
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{location}: holds an adapter (adapter_config.json), which is not loaded; merge it "
            "into the model (peft: merge_and_unload), or remove that file to do without"
        )
    for key, value in _implementations(config):
        raise ModelError(
            f"{location}: {key} in config.json is {value!r}, code from the hub, which is not "
            "fetched; remove it there, and choose with `attention` in the recipe"
        )


def _json(path: Path) -> dict[str, Any]:
    """An empty one for what cannot be read: that the library says better, when it loads it."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _implementations(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Implementations that are no plain word, also in the configurations inside this one."""
    for key, value in config.items():
        named = list(value.values()) if isinstance(value, dict) else [value]
        if key.endswith("_implementation"):
            yield from ((key, name) for name in named if isinstance(name, str) and "/" in name)
        elif isinstance(value, dict):
            yield from _implementations(value)
