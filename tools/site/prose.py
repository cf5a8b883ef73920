"""For griffe: docstrings of plain prose, made Markdown.

What stands behind `::` is a block of code, indented or up to the end; attributes become a list; and
a public name in backticks becomes a link to it.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

import qaqfilter

CODE = re.compile(r"::\n\n(?P<code>.+)\Z", re.DOTALL)
ATTRIBUTES = re.compile(r"^Attributes\n-+\n(?P<items>.+?)(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"(?<!`)`(?:qaqfilter\.)?(?P<name>[A-Za-z_]+)`(?!`)")
FENCED = re.compile(r"(```.*?```)", re.DOTALL)


class Prose(griffe.Extension):
    """Works on every docstring when its object is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring, if there is one."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, obj.name)


def as_markdown(docstring: str, about: str = "") -> str:
    """A docstring as Markdown; `about` is the name that it need not link to."""
    text = CODE.sub(lambda found: f":\n\n{_fenced(found['code'])}", docstring)
    text = ATTRIBUTES.sub(lambda found: _listed(found["items"]), text)
    return "".join(
        part if part.startswith("```") else NAME.sub(lambda found: _linked(found, about), part)
        for part in FENCED.split(text)
    )


def _fenced(code: str) -> str:
    return f"```python\n{textwrap.dedent(code).strip()}\n```\n"


def _listed(items: str) -> str:
    """`name: what it is` in lines, those that are indented going on with the one before."""
    listed = []
    for item in re.split(r"\n(?=\S)", items.strip()):
        names, _, what = item.partition(": ")
        named = ", ".join(f"`{name}`" for name in names.split(", "))
        listed.append(f"- {named}: {' '.join(what.split())}")
    return "\n".join(listed) + "\n"


def _linked(found: re.Match[str], about: str) -> str:
    name = found["name"]
    if name == about or name not in qaqfilter.__all__:
        return found[0]
    return f"[`{name}`][qaqfilter.{name}]"
