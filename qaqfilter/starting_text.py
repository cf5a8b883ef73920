"""The text of a recipe to begin with: commented, and valid YAML whatever the files are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Method = Literal["disagreement", "rmi", "ifd"]
GIVES_AWAY = 0.98
"""Rank of RMI above which the answer is taken to give the query away."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a recipe is made of. Paths and locations are as the recipe shall name them.

    `models` are (backend, location) by name; `keep` is the share of records that the last step
    keeps.
    """

    name: str
    source: str
    patterns: Sequence[str]
    layout: str | None
    sink: str
    output: str
    method: Method
    keep: float
    models: Mapping[str, tuple[str, str]]
    fields: Mapping[str, str] = field(default_factory=dict)

    def text(self, schema: str) -> str:
        """The recipe; `schema` is the file that editors check it by."""
        about, step = _STEPS[self.method]
        keep = f"keep: {_keep(self.method, self.keep)}"
        models = "\n".join(
            f"  {name}: {{use: {backend}, model: {quoted(location)}}}"
            for name, (backend, location) in self.models.items()
        )
        return f"""\
# yaml-language-server: $schema={schema}
# Every key with its default: docs/recipe-reference.md, or `qaqfilter schema`.
version: 1
name: {quoted(self.name)}

# Where the records come from, and where query and answer stand in them: docs/first-recipe.md
{_TURNS if self.layout in _TALKS else ""}input: {self._input()}

# Who judges. An instruction-tuned model also wants `prompt: {{use: chat}}`: docs/methods.md
models:
{models}

# The chain: a step sees what the steps before it kept, so cheap ones come first: docs/methods.md
steps:
  # No model is needed to drop empty answers.
  - {{id: sane, use: length, of: answer, keep: {{min: 1}}}}
  # {about}
  - {{{step}, {keep}}}

# Where the results go; `kept` holds what is worth training on: docs/runs.md
output: {{use: {self.sink}, path: {quoted(self.output)}}}
"""

    def _input(self) -> str:
        paths = [quoted(pattern) for pattern in self.patterns]
        path = paths[0] if len(paths) == 1 else f"[{', '.join(paths)}]"
        parts = [f"use: {self.source}", f"path: {path}"]
        if self.layout:
            parts.append(f"layout: {self.layout}")
        if self.fields:
            named = (f"{name}: {quoted(value)}" for name, value in self.fields.items())
            parts.append(f"fields: {{{', '.join(named)}}}")
        return f"{{{', '.join(parts)}}}"


_TALKS = ("messages", "conversations")
_TURNS = """\
# The last answer of each conversation is scored; all with `turns: each` or `all`: docs/data.md
"""

_STEPS: Mapping[Method, tuple[str, str]] = {
    "disagreement": (
        "What the strong model finds coherent and the weak one does not.",
        "id: qaq, use: disagreement, strong: strong, weak: weak",
    ),
    "rmi": (
        "How much the answer explains the query: high ranks, but not those that repeat it.",
        "id: coherent, use: rmi, model: strong",
    ),
    "ifd": (
        "How little the query helps to predict the answer: the hardest, where it helps at all.",
        "id: hard, use: ifd, model: strong",
    ),
}


def _keep(method: Method, share: float) -> str:
    if method == "rmi":
        low = max(0.0, round(GIVES_AWAY - share, 6))
        return f"{{rank: [{low:g}, {GIVES_AWAY if share <= GIVES_AWAY else 1.0:g}]}}"
    return f"{{max: 1, fraction: {share}}}" if method == "ifd" else f"{{fraction: {share}}}"


def quoted(text: str) -> str:
    """Text as a double-quoted YAML scalar on one line."""
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
