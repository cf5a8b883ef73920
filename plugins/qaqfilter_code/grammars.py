"""tree-sitter: what of some code does not parse. Grammars come as packages, nothing is fetched."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

GRAMMARS = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "css": ("tree_sitter_css", "language"),
    "go": ("tree_sitter_go", "language"),
    "html": ("tree_sitter_html", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "json": ("tree_sitter_json", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "python": ("tree_sitter_python", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
}
"""Languages that can be judged, and the module and function that has their grammar."""


class Faults(NamedTuple):
    """What does not parse: how many places, and how many bytes of code they cover."""

    errors: int
    covered: int


def faults(language: str, code: bytes) -> Faults:
    """Places that the grammar had to skip, or where it had to think something up."""
    parser, empty_bodies = _parser(language)
    root = parser.parse(code).root_node
    found = _broken(root)
    # Only where nothing else is wrong: a query over a broken tree may take time by its square.
    return found if found.errors else Faults(empty_bodies(root), 0)


def _broken(root: Any) -> Faults:
    """Without recursion, since code may nest as deep as it is long; sound parts are passed by."""
    errors = covered = 0
    cursor = root.walk()
    while True:
        node = cursor.node
        broken = node.is_error or node.is_missing
        if broken:
            errors += 1
            covered += node.end_byte - node.start_byte
        # What is inside of an error belongs to it.
        if node.has_error and not broken and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return Faults(errors, covered)


@cache
def _parser(language: str) -> tuple[Any, Any]:
    from tree_sitter import Language, Parser, Query, QueryCursor

    module, function = GRAMMARS[language]
    grammar = Language(getattr(import_module(module), function)())
    if language != "python":
        return Parser(grammar), lambda root: 0
    # The grammar takes `def f():` without a body, which is what a cut answer ends with.
    bodies = Query(grammar, "(block) @body")

    def empty(root: Any) -> int:
        found = QueryCursor(bodies).captures(root).get("body", [])
        return sum(node.start_byte == node.end_byte for node in found)

    return Parser(grammar), empty
