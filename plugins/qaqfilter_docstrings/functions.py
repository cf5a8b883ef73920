"""Functions that have a docstring, out of a module's source text."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterator
from typing import NamedTuple

Def = ast.FunctionDef | ast.AsyncFunctionDef


class Function(NamedTuple):
    """`docstring` is cleaned of its indentation, `source` is without it, and dedented."""

    qualname: str
    line: int
    docstring: str
    source: str


def functions(text: str) -> Iterator[Function]:
    """Every function with a docstring and something below it, in the order of the text.

    The source is as it was written, decorators and comments included. A function is left out
    where a backslash ties its docstring to what follows.
    Raises SyntaxError or ValueError where `text` is not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are their authors' affair
        tree = ast.parse(text)
    lines = text.split("\n")  # as Python counts lines; splitlines() also splits at form feeds
    for node, qualname in _definitions(tree, ""):
        docstring = ast.get_docstring(node, clean=False)
        if docstring is None or len(node.body) < 2:
            continue
        source = _without_docstring(node, lines)
        if source is not None:
            yield Function(qualname, node.lineno, inspect.cleandoc(docstring).strip(), source)


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[Def, str]]:
    """Every function below `node` with its qualified name, as `__qualname__` has it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Def):
            yield child, prefix + child.name
            yield from _definitions(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif not isinstance(child, ast.expr):
            yield from _definitions(child, prefix)


def _without_docstring(node: Def, lines: list[str]) -> str | None:
    """The text of `node`, dedented, its docstring cut out; None where that cannot be done."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    doc, following = node.body[0], node.body[1]
    doc_end, doc_end_column, last = doc.end_lineno, doc.end_col_offset, node.end_lineno
    assert doc_end is not None and doc_end_column is not None and last is not None
    before = _bytes(lines[doc.lineno - 1])[: doc.col_offset].decode()
    after = _bytes(lines[doc_end - 1])[doc_end_column:].decode().strip()
    taken = dict(enumerate(lines[first - 1 : last], start=first))
    for number in range(doc.lineno, doc_end + 1):
        del taken[number]
    if following.lineno == doc_end:  # def f(): "doc"; return 1
        taken[doc_end] = before + _bytes(lines[doc_end - 1])[following.col_offset :].decode()
    elif before.strip() or after.lstrip(";").strip()[:1] not in ("", "#"):
        return None
    return _dedented(taken, node, lines[first - 1])


def _dedented(taken: dict[int, str], node: Def, first_line: str) -> str:
    """Without the indentation that `node` has, except inside strings that span lines."""
    indent = first_line[: len(first_line) - len(first_line.lstrip())]
    inside_strings: set[int] = set()
    for part in ast.walk(node):
        text = isinstance(part, ast.JoinedStr) or (
            isinstance(part, ast.Constant) and isinstance(part.value, str | bytes)
        )
        if text and isinstance(part, ast.expr) and part.end_lineno is not None:
            inside_strings.update(range(part.lineno + 1, part.end_lineno + 1))
    return "\n".join(
        line if number in inside_strings else line.removeprefix(indent)
        for number, line in sorted(taken.items())
    )


def _bytes(line: str) -> bytes:
    """Columns of the syntax tree count bytes of UTF-8."""
    return line.encode()
