"""Pages for what docs/ links to outside of itself: the changelog, READMEs, recipes, source files.

On the forge such a link leads to the file. On the site it leads to a page below project/, at the
file's own path: Markdown is a page as it is, a notebook is shown cell by cell, and any other text
with its syntax highlighted. Pages are made for what is linked and for nothing else.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
AWAY = "project"
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md")
"""In the navigation, whether or not a page links to them."""
BETTER = {"qaqfilter/hookspecs.py": "api/hookspecs.md"}
"""Files of which the site has a page that is made for reading."""
LANGUAGES = {
    ".json": "json",
    ".jsonl": "json",
    ".py": "python",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
}
FENCE = "~" * 12
# Found by a search, but after the pages that explain something.
HEAD = "---\nsearch:\n  boost: 0.3\n---\n"


class SiteError(Exception):
    """The site cannot be built; the message says why, and where to mend it."""


def place(path: str) -> str:
    """Where a file of the project, by its path from the top, stands among the site's pages."""
    if path.startswith(f"{DOCS}/"):
        return path.removeprefix(f"{DOCS}/")
    if path in BETTER:
        return BETTER[path]
    return posixpath.join(AWAY, path if path.endswith(".md") else f"{path}.md")


def pages() -> Iterator[tuple[str, str]]:
    """(place, text) of the pages of docs/, and of all others that they lead to, over any way."""
    waiting = [f.relative_to(ROOT).as_posix() for f in sorted((ROOT / DOCS).rglob("*.md"))]
    waiting += ALWAYS
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        text = (ROOT / path).read_text(encoding="utf-8")
        if not path.endswith(".md"):
            yield place(path), HEAD + shown(path, text)
            continue
        yield place(path), ("" if path.startswith(f"{DOCS}/") else HEAD) + turned(path, text)
        for _, address in links(text):
            target = followed(path, address)
            if target is None or target in seen or target.startswith(f"{DOCS}/"):
                continue
            if not (ROOT / target).is_file():
                raise SiteError(f"{path}: the link {address!r} leads to no file of the project")
            seen.add(target)
            if target not in BETTER:
                waiting.append(target)


def followed(path: str, address: str) -> str | None:
    """The file of the project that a link on the page `path` leads to; None where to none."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), parts.path))


def links(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Every address that Markdown links to, or shows a picture from, and the lines it is in."""
    lines = (0, 0)
    for token in MarkdownIt().enable("table").parse(text):
        lines = (token.map[0], token.map[1]) if token.map else lines
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                yield lines, str(child.attrGet("href") or child.attrGet("src"))


def turned(path: str, text: str) -> str:
    """A page of the project with its links turned to where their files stand on the site."""
    lines = text.split("\n")
    folder = posixpath.dirname(place(path)) or "."
    for (first, last), address in links(text):
        target = followed(path, address)
        if target is None:
            continue
        bare, _, anchor = address.partition("#")
        to = posixpath.relpath(place(target), folder)
        if to != posixpath.normpath(bare):
            to += f"#{anchor}" if anchor else ""
            for number in range(first, last):
                lines[number] = lines[number].replace(f"]({address})", f"]({to})")
    return "\n".join(lines)


def shown(path: str, text: str) -> str:
    """A file that is no Markdown, as a page."""
    suffix = posixpath.splitext(path)[1]
    if suffix == ".ipynb":
        return "\n".join(_cells(text))
    return f"# `{path}`\n\n{_fenced(text, LANGUAGES.get(suffix, 'text'))}"


def _cells(notebook: str) -> Iterator[str]:
    """The cells of a notebook, with what they print where that is text."""
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        yield source + "\n" if cell["cell_type"] == "markdown" else _fenced(source, "python")
        for output in cell.get("outputs", ()):
            text = output.get("text") or output.get("data", {}).get("text/plain")
            if text:
                yield _fenced("".join(text), "text")


def _fenced(text: str, language: str) -> str:
    return f"{FENCE} {language}\n{text.rstrip()}\n{FENCE}\n"
