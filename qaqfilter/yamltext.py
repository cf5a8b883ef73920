"""YAML text -> plain data and the line of everything, within bounds.

A recipe may be a stranger's, so YAML is taken for what a recipe needs: mappings with text as
keys, lists, and scalars of YAML 1.2. A tag could ask for an object, and merge keys are not in
YAML 1.2; both are refused, and so is what a few bytes can blow up: aliases of aliases, and nesting.
ruamel.yaml only splits the text into events; what they mean is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from qaqfilter.errors import RecipeError
from qaqfilter.printable import printable

MOST_BYTES = 1 << 20
"""Of a recipe file."""
MOST_VALUES = 10_000
"""Of a recipe, keys included, with every alias counted as what it stands for."""
MOST_LEVELS = 50
"""Of lists and mappings inside one another."""

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?\d+(_\d+)*\Z", re.ASCII)
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(_\d+)*(\.\d*)?)([eE][-+]?\d+)?\Z", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_HALF = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 40  # of what may still be a number of 64 bits, with zeros before it

_SHOWN = 80  # characters of a stranger's text in a message


@dataclass(slots=True)
class Node:
    """A value and its line. A mapping's keys have lines of their own."""

    line: int
    value: Any = None
    keys: dict[str, tuple[int, Node]] | None = None
    items: list[Node] | None = None
    size: int = 1
    height: int = 0

    def add(self, node: Node, keys: int = 0) -> Node:
        """Count a value that stands in this one."""
        self.size += node.size + keys
        self.height = max(self.height, node.height + 1)
        return node

    def plain(self) -> Any:
        """Dicts, lists and scalars, made afresh: an alias shares nothing with its anchor."""
        if self.keys is not None:
            return {key: node.plain() for key, (_, node) in self.keys.items()}
        if self.items is not None:
            return [node.plain() for node in self.items]
        return self.value


def parse(text: str, name: str) -> Node:
    """The one value that `text` holds. Raises RecipeError; `name` stands before the line there."""
    reader = _Reader(YAML(typ="safe", pure=True).parse(text), name)
    try:
        return reader.document()
    except MarkedYAMLError as error:
        line = (error.problem_mark.line + 1) if error.problem_mark else 1
        said = printable(str(error.problem or error.context)[: 2 * _SHOWN])
        quotes = any("${" in found for found in text.splitlines()[line - 1 : line])
        mend = "; inside braces and brackets, ${NAME} has to be in quotes" if quotes else ""
        raise RecipeError([f"{name}:{line}: not YAML: {said}{mend}"]) from error
    except YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        said = printable(str(error).partition("\n")[0][: 2 * _SHOWN])
        raise RecipeError([f"{name}:{line}: not YAML: {said}"]) from error
    except (ValueError, OverflowError) as error:  # an escape that is no character: "\UFFFFFFFF"
        raise RecipeError([f"{name}: not YAML: {printable(str(error))}"]) from error


@dataclass(slots=True)
class _Reader:
    events: Iterator[Any]
    name: str
    anchors: dict[str, Node | None] = field(default_factory=dict)
    size: int = 0

    def document(self) -> Node:
        found: Node | None = None
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                line = event.start_mark.line + 1
                if found is not None:
                    self.refuse(line, "a second document; a recipe is one")
                if event.version not in (None, (1, 2)):
                    self.refuse(line, "a recipe is YAML 1.2; remove the %YAML line")
                found = self.node(next(self.events), 0)
            elif isinstance(event, StreamEndEvent):
                break
        return found or Node(1)

    def node(self, event: Any, level: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            return self.alias(event.anchor, line, level)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:_SHOWN]
            self.refuse(
                line,
                f"the tag {tag!r}: a recipe is plain data, without tags; remove it "
                "(text that looks like a number goes in quotes)",
            )
        self.count(1, level, line)
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # not known before its end: no alias inside itself
        node = Node(line)
        if isinstance(event, ScalarEvent):
            node.value = self.scalar(event, line)
        elif isinstance(event, SequenceStartEvent):
            self.list(node, level)
        else:
            self.mapping(node, level)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def alias(self, anchor: str, line: int, level: int) -> Node:
        node = self.anchors.get(anchor)
        if node is None:
            where = "inside itself" if anchor in self.anchors else "without its anchor before it"
            self.refuse(line, f"the alias {'*' + anchor[:_SHOWN]!r} stands {where}")
        self.count(node.size, level + node.height, line)
        return node

    def list(self, node: Node, level: int) -> None:
        node.items = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            node.items.append(node.add(self.node(event, level + 1)))

    def mapping(self, node: Node, level: int) -> None:
        node.keys = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, ScalarEvent) or event.tag is not None:
                self.refuse(line, "a key is text, not a list, a mapping, an alias or a tag")
            key = self.text(event.value, line)
            if key == "<<" and event.implicit[0]:
                self.refuse(line, "the merge key '<<' is not in YAML 1.2; write the keys out")
            if key in node.keys:
                self.refuse(line, f"duplicate key {_quoted(key)}: a key may stand only once")
            if event.anchor is not None:
                self.anchors[event.anchor] = Node(line, key)
            self.count(1, level, line)
            node.keys[key] = (line, node.add(self.node(next(self.events), level + 1), keys=1))

    def scalar(self, event: Any, line: int) -> Any:
        """A plain scalar by the core schema of YAML 1.2; a quoted one is text."""
        text = self.text(event.value, line)
        if not event.implicit[0]:
            return text
        if text in (text.lower(), text.upper(), text.capitalize()) and text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _INTEGER.match(text) or _BASED.match(text):
            # Looked at first: of millions of digits Python would make a number, slowly.
            small = len(text) <= _MOST_DIGITS
            number = int(text, 10 if _INTEGER.match(text) else 0) if small else 0
            if not small or number.bit_length() > 63:
                self.refuse(line, "a whole number of more than 64 bits; text goes in quotes")
            return number
        if _FLOAT.match(text):
            return float(text)
        return float(text.replace(".", "")) if _NOT_FINITE.match(text) else text

    def text(self, text: str, line: int) -> str:
        if not _HALF.search(text):
            return text
        try:  # JSON writes "\ud83d\ude42" for one character
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self.refuse(line, "half a character (\\ud800 to \\udfff); write the whole one")

    def count(self, values: int, level: int, line: int) -> None:
        """Refuse what is too much before it is made."""
        if level >= MOST_LEVELS:
            self.refuse(line, f"more than {MOST_LEVELS} lists and mappings inside one another")
        self.size += values
        if self.size > MOST_VALUES:
            self.refuse(
                line,
                f"more than {MOST_VALUES} values, aliases written out; no recipe needs so many",
            )

    def refuse(self, line: int, text: str) -> NoReturn:
        raise RecipeError([f"{self.name}:{line}: {text}"])


def _quoted(key: str) -> str:
    return f'"{printable(key[:_SHOWN])}"'
