"""A recipe written out for others: every default in it, no folder of this machine.

<folder of the recipe>/data.jsonl   data.jsonl
~/models/m.gguf                     ~/models/m.gguf, whoever's home that is
/srv/data.jsonl                     as it is

Where the outputs and the score store are is left out: that changes nothing in a run.
"""

from __future__ import annotations

import glob
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from qaqfilter.manifest import as_written
from qaqfilter.printable import printable
from qaqfilter.recipe import Recipe

_FILE = "path:"
"""What the loader puts before a model location that is a path (see `options.py`)."""


def recipe_text(recipe: Recipe) -> str:
    """The resolved recipe as YAML, which gives the same run if it stands where the recipe did."""
    resolved = recipe.resolved()
    resolved["output"]["path"] = "out"
    del resolved["run"]["store"]
    data = _told(as_written(resolved), recipe.path.parent.absolute())
    text = _dumped(data, unicode=True)
    # An escape is the same text in YAML, where one by `printable` would be another.
    return text if printable(text, keep="\n") == text else _dumped(data, unicode=False)


def _told(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _told(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_told(item, folder) for item in value]
    return _path(value, folder) if isinstance(value, str) else value


def _path(text: str, folder: Path) -> str:
    path = text.removeprefix(_FILE)
    places = [(str(folder), "./" if path != text else "")]
    with suppress(RuntimeError):  # nobody's home
        home = Path.home()
        if home != Path(home.anchor):
            places.append((str(home), "~/"))
    for place, instead in places:
        for start in (place, glob.escape(place)):
            if path.startswith(start + os.sep):
                return instead + path[len(start) + 1 :].replace(os.sep, "/")
    return text


def _dumped(data: Any, *, unicode: bool) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = unicode
    yaml.width = 4096
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()
