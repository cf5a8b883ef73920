"""A YAML file as plain data that remembers where every key stands, and `--set` on top of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from qaqfilter.errors import RecipeError

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
            words.append(str(inner["id"]) if named else str(key))
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
        try:
            value = _plain(YAML(typ="rt").load(text))
        except YAMLError as error:
            raise RecipeError([f"--set {assignment}: the value is not YAML: {error}"]) from error
        location: list[str | int] = []
        target: Any = self.data
        *parents, last = dotted.strip().split(".")
        for word in parents:
            key = self._key(target, word, assignment)
            location.append(key)
            if isinstance(target, dict) and not isinstance(target.get(key), dict | list):
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
        if word.isdecimal() and int(word) < len(target):
            return int(word)
        known = ", ".join(str(i) for i in ids if i is not None)
        raise RecipeError(
            [f"--set {assignment}: no item {word!r} in that list; there are: {known}"]
        )


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML mapping. Raises RecipeError with file and line for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError([f"{path}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError([f"{path}: cannot be read: {error}"]) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> YamlFile:
    """As `read_yaml`, from text; `name` stands in messages."""
    try:
        loaded = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        detail = str(error.problem).split(" with ")[0].removeprefix("found ")
        raise RecipeError([f"{name}:{line}: {detail}: a key may stand only once"]) from error
    except MarkedYAMLError as error:
        line = (error.problem_mark.line + 1) if error.problem_mark else 1
        problem = error.problem or error.context
        raise RecipeError([f"{name}:{line}: not YAML: {problem}"]) from error
    except YAMLError as error:
        raise RecipeError([f"{name}: not YAML: {error}"]) from error
    if not isinstance(loaded, CommentedMap):
        raise RecipeError([f"{name}:1: a recipe is a mapping of keys such as input, models, steps"])
    where: dict[Location, str] = {}
    _collect(loaded, (), name, where)
    return YamlFile(name, _plain(loaded), where)


def _step_into(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None


def _collect(node: Any, location: Location, name: str, where: dict[Location, str]) -> None:
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            here = (*location, key)
            where[here] = f"{name}:{node.lc.key(key)[0] + 1}"
            _collect(value, here, name, where)
    elif isinstance(node, CommentedSeq):
        for index, value in enumerate(node):
            here = (*location, index)
            where[here] = f"{name}:{node.lc.item(index)[0] + 1}"
            _collect(value, here, name, where)


def _remember(value: Any, location: Location, place: str, where: dict[Location, str]) -> None:
    for old in [known for known in where if known[: len(location)] == location]:
        del where[old]
    where[location] = place
    if isinstance(value, dict):
        for key, inner in value.items():
            _remember(inner, (*location, key), place, where)


def _plain(node: Any) -> Any:
    """Strip ruamel's types, which remember layout that nobody needs from here on."""
    if isinstance(node, dict):
        return {_plain(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
