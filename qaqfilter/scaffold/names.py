"""What a plugin may be called, and the names that follow: of its component, module and project."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from qaqfilter.errors import UsageError
from qaqfilter.manager import PluginManager

LONGEST = 40
"""Characters, so that the lines of what is written fit."""

HOOKS: Mapping[str, str] = {
    kind: f"qaqfilter_{kind}s"
    for kind in ("selector", "backend", "source", "sink", "prompt", "executor", "damage")
}
"""The kinds of plugins that can be begun so, and the hook that offers each."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


@dataclass(frozen=True, slots=True)
class Names:
    """A component's name in recipes, and what is called after it."""

    name: str
    kind: str

    @property
    def module(self) -> str:
        """The module of the project."""
        return f"qaqfilter_{self.name}"

    @property
    def distribution(self) -> str:
        """The project, as pip knows it, and its folder."""
        return f"qaqfilter-{self.name.replace('_', '-')}"

    @property
    def class_name(self) -> str:
        """The component's class."""
        return "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def hook(self) -> str:
        """The hook that offers the component."""
        return HOOKS[self.kind]


def checked_names(name: str, kind: str, manager: PluginManager) -> Names:
    """The names of a plugin to be. Raises UsageError for a name that would lead to trouble."""
    if not _NAME.match(name) or len(name) > LONGEST:
        hint = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:LONGEST].rstrip("_")
        raise UsageError(
            f"{name!r} cannot be the name of a plugin: take at most {LONGEST} small letters and "
            "digits, words joined by _, a letter first" + (f", such as {hint}" if hint else "")
        )
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "qaqfilter":
        what = "a word of Python" if keyword.iskeyword(name) else "a module of Python's"
        what = "qaqfilter itself" if name == "qaqfilter" else what
        raise UsageError(f"{name!r} is {what}: take another name, such as my_{name}")
    if name in manager.names(kind):
        owner = manager.offers[kind, name].distribution
        raise UsageError(
            f"{owner} offers a {kind} {name!r} already, and two of one name stop every run: take "
            f"another name, such as my_{name}"
        )
    return Names(name, kind)
