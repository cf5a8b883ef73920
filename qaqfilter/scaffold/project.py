"""Templates -> the files of a plugin to be, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from qaqfilter.errors import UsageError
from qaqfilter.scaffold.names import Names

if TYPE_CHECKING:
    from jinja2 import Environment

SUFFIX = ".j2"
MODULE = "module.py"
"""The plugin's module, which is called after the plugin."""
ABOUT = f"_about.md{SUFFIX}"
"""What stands in the README of a plugin of this kind."""


def project_files(names: Names) -> Mapping[str, str]:
    """The files of a project, by their places in it."""
    templates = {one.name: one for folder in ("any", names.kind) for one in _templates(folder)}
    if names.kind == "source":
        del templates["data.jsonl"]  # it reads data of its own
    about = _rendered(templates.pop(ABOUT), names)
    texts = {}
    for name, template in templates.items():
        place = name.removesuffix(SUFFIX).replace("--", "/")
        texts[place] = _rendered(template, names, about)
    texts[f"{names.module}.py"] = texts.pop(MODULE)
    return dict(sorted(texts.items()))


def to_replace(names: Names) -> Mapping[str, str]:
    """What of a project is an example, by its places in it: what an author puts their own for."""
    data = "data.tsv" if names.kind == "source" else "data.jsonl"
    return {
        f"{names.module}.py": "its first line, the class, the options, and the summary at its end",
        "tests/test_plugin.py": "the numbers and texts worked out by hand; TestContract stays",
        "recipe.yaml": "a recipe that tries it",
        data: "records on which it shows what it does",
        "pyproject.toml": "the description, and what the module imports as dependencies",
        "README.md": "what it does, and its options",
    }


def module_text(names: Names) -> str:
    """The plugin's module alone, for ``--plugin``."""
    return _rendered(_folder(names.kind) / f"{MODULE}{SUFFIX}", names)


def write_project(names: Names, folder: Path) -> Mapping[str, str]:
    """Write the project; its files. Raises UsageError where `folder` holds something already."""
    texts = project_files(names)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; take another --folder, or another name")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the place, so that it is moved there in one go.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            made = Path(beside) / folder.name
            made.mkdir()
            for place, text in texts.items():
                path = made / place
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            if folder.exists():
                folder.rmdir()
            shutil.move(made, folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    return texts


def write_module(names: Names, path: Path) -> None:
    """Write the module alone. Raises UsageError where a file is there already."""
    text = module_text(names)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise UsageError(f"{path} is there already; take another --folder or name") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _folder(kind: str) -> Traversable:
    return files("qaqfilter.scaffold") / "templates" / kind


def _templates(kind: str) -> list[Traversable]:
    return [one for one in _folder(kind).iterdir() if one.is_file()]


def _rendered(template: Traversable, names: Names, about: str = "") -> str:
    text = template.read_text(encoding="utf-8")
    if not template.name.endswith(SUFFIX):
        return text
    return (
        _environment().from_string(text).render(names=names, about=about, replace=to_replace(names))
    )


@cache
def _environment() -> Environment:
    import jinja2

    return jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
