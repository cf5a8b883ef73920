"""A YAML file as plain data that remembers where every key stands, and `--set` on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qaqfilter.errors import RecipeError
from qaqfilter.printable import printable
from qaqfilter.yamltext import MOST_BYTES, Node, parse

Location = tuple[str | int, ...]


@dataclass(slots=True)
class YamlFile:
    """Plain dicts, lists and scalars in `data`; `where` maps key paths to ``file:line``."""

    name: str
    data: dict[str, Any]
    where: dict[Location, str] = field(default_factory=dict)

    def place(self, location: Location) -> str:
        """``file:line`` of a key path, or of its nearest ancestor that stands in the file."""
        while location and location not in self.where:
            location = location[:-1]
        return self.where.get(location, f"{self.name}:1")

    def path(self, location: Location) -> str:
        """The key path as a person writes it: list items go by their `id` where they have one."""
        words: list[str] = []
        value: Any = self.data
        for key in location:
            inner = _step_into(value, key)
            named = isinstance(key, int) and isinstance(inner, dict) and "id" in inner
            words.append(printable(str(inner["id"] if named else key)))
            value = inner
        return ".".join(words)

    def problem(self, location: Location, text: str) -> str:
        """One complete error line."""
        path = self.path(location)
        return f"{self.place(location)}: {path}: {text}" if path else f"{self.place(())}: {text}"

    def set(self, assignment: str) -> None:
        """Apply ``a.b.c=value``; list items are named by `id` or index, the value is YAML."""
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted.strip():
            raise RecipeError([f"--set {assignment}: write it as --set a.b.c=value"])
        # A lone dash is an empty list in YAML, and on a command line standard input or output.
        value = "-" if text == "-" else parse(text, f"--set {printable(dotted)}").plain()
        location: list[str | int] = []
        target: Any = self.data
        *parents, last = dotted.strip().split(".")
        for word in parents:
            key = self._key(target, word, assignment)
            location.append(key)
            if not isinstance(_step_into(target, key), dict | list):
                target[key] = {}
            target = target[key]
        key = self._key(target, last, assignment)
        target[key] = value
        _remember(value, (*location, key), f"--set {dotted}", self.where)

    def _key(self, target: Any, word: str, assignment: str) -> str | int:
        if isinstance(target, dict):
            return word
        ids = [item.get("id") if isinstance(item, dict) else None for item in target]
        if word in ids:
            return ids.index(word)
        if word.isdecimal() and len(word) < 9 and int(word) < len(target):
            return int(word)
        known = ", ".join(printable(str(i)) for i in ids if i is not None)
        raise RecipeError(
            [f"--set {assignment}: no item {word!r} in that list; there are: {known}"]
        )


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> YamlFile:
    """Read a YAML mapping, with each ``key=value`` set. Raises RecipeError, with file and line."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise RecipeError([f"{path}: more than {MOST_BYTES} bytes: not a recipe"])
        text = data.decode()
    except FileNotFoundError:
        raise RecipeError([f"{path}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError([f"{path}: cannot be read: {error}"]) from error
    found = parse_yaml(text, printable(str(path)))
    for assignment in overrides:
        found.set(assignment)
    return found


def parse_yaml(text: str, name: str) -> YamlFile:
    """As `read_yaml`, from text; `name` stands in messages."""
    node = parse(text, name)
    if node.keys is None:
        raise RecipeError([f"{name}:1: a recipe is a mapping of keys such as input, models, steps"])
    where: dict[Location, str] = {}
    _collect(node, (), name, where)
    return YamlFile(name, node.plain(), where)


def _step_into(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None


def _collect(node: Node, location: Location, name: str, where: dict[Location, str]) -> None:
    for key, (line, value) in (node.keys or {}).items():
        where[*location, key] = f"{name}:{line}"
        _collect(value, (*location, key), name, where)
    for index, value in enumerate(node.items or ()):
        where[*location, index] = f"{name}:{value.line}"
        _collect(value, (*location, index), name, where)


def _remember(value: Any, location: Location, place: str, where: dict[Location, str]) -> None:
    for old in [known for known in where if known[: len(location)] == location]:
        del where[old]
    where[location] = place
    if isinstance(value, dict):
        for key, inner in value.items():
            _remember(inner, (*location, key), place, where)
