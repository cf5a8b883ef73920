"""What a run stands on beside its recipe and its input: files that options name, plugins' code.

Looked at are backends, prompts, selectors and the sink. What a source reads shows in the digests of
the input, and an executor changes no number.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from qaqfilter.blocks import Block
from qaqfilter.discovery import BUNDLED
from qaqfilter.named_paths import NamedPath
from qaqfilter.options import LOCATION, fields_marked
from qaqfilter.recipe import Recipe
from qaqfilter.selectors import Measures
from qaqfilter.stamps import Stamp, code_digest, stamped, stamps_differ


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """What was at a path that an option names: ``models.<name>.<key>``, ``steps.<id>.<key>``."""

    option: str
    path: str
    files: dict[str, Stamp]


@dataclass(frozen=True, slots=True)
class Code:
    """Who offered a component, with the version, and the SHA-256 of its Python files if known."""

    distribution: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a run stood on; `plugins` by ``<kind> <name>``, without the bundled ones."""

    files: tuple[NamedFiles, ...]
    plugins: dict[str, Code]


class Changes(NamedTuple):
    """Phrases for files and for plugins that are not what they were."""

    files: list[str]
    plugins: list[str]


class _Used(NamedTuple):
    """A block, where its options stand, and whether numbers that a selection reads hang on it."""

    block: Block
    place: str
    scores: bool


def grounds_of(recipe: Recipe, known: Grounds | None, *, selected: bool = False) -> Grounds:
    """What a run of this recipe stands on now.

    Digests are taken over from `known` where a file has the same size and time. For a selection
    (`selected`), `known` is of the run that scored: what that noted of its scores counts.
    """
    before = _by_option(known)
    files = []
    plugins = {}
    for used in _blocks(recipe):
        read_back = selected and used.scores
        if read_back and known is None:  # an earlier version scored, and noted nothing
            continue
        for option, path in _paths(used):
            then = before.get((option, path))
            now = stamped(Path(path), then.files if then else {})
            if now is not None:
                files.append(NamedFiles(option, path, dict(now)))
            elif then is not None and read_back:
                files.append(then)
        name, code = _code(used.block, recipe)
        if read_back and known is not None:
            code = known.plugins.get(name, code)
        if code is not None:
            plugins[name] = code
    return Grounds(tuple(files), plugins)


def changes(
    known: Grounds | None, recipe: Recipe, *, of_scores: bool = False, gone: bool = True
) -> Changes:
    """What is not as it was, where the recipe still names it: nothing that was never noted.

    With `of_scores` only what numbers that a selection reads hang on. Without `gone` a file that is
    no longer there counts as unchanged: it says nothing against numbers that it led to.
    """
    found = Changes([], [])
    if known is None:
        return found
    before = _by_option(known)
    for used in _blocks(recipe):
        if of_scores and not used.scores:
            continue
        for option, path in _paths(used):
            then = before.get((option, path))
            now = stamped(Path(path), then.files) if then else None
            if then is not None and (now is not None or gone):
                differ = stamps_differ(Path(path), then.files, now)
                found.files.extend(f"{option}: {phrase}" for phrase in differ)
        name, code = _code(used.block, recipe)
        old = known.plugins.get(name)
        if old is not None and code is not None and old != code:
            what = f"{old.distribution} -> {code.distribution}"
            if old.distribution == code.distribution:
                what = f"the code of {old.distribution} changed"
            found.plugins.append(f"{name}: {what}")
    return Changes(*([*dict.fromkeys(phrases)] for phrases in found))


def _by_option(known: Grounds | None) -> Mapping[tuple[str, str], NamedFiles]:
    return {(named.option, named.path): named for named in known.files} if known else {}


def _blocks(recipe: Recipe) -> Iterator[_Used]:
    for name, model in recipe.models.items():
        yield _Used(model.backend, f"models.{name}", scores=True)
        yield _Used(model.prompt, f"models.{name}.prompt", scores=True)
    for step in recipe.steps:
        # What `score` makes of likelihoods a selection makes anew; what is measured it reads.
        measures = isinstance(step.selector, Measures)
        yield _Used(step.block, f"steps.{step.id}", scores=measures)
        if step.prompt is not None:
            yield _Used(step.prompt, f"steps.{step.id}.prompt", scores=True)
    yield _Used(recipe.sink, "output", scores=False)


def _paths(used: _Used) -> Iterator[tuple[str, str]]:
    """(option, path) of what the block's plugin reads: no output, and models only to ask them."""
    if used.block.plugin.kind == "sink":
        return
    options = used.block.options
    for name in type(options).model_fields:
        for path in _named(getattr(options, name)):
            yield f"{used.place}.{name}", str(path)
    if used.block.plugin.kind == "backend":
        for name in fields_marked(type(options), LOCATION):
            location = getattr(options, name) or ""
            if location.startswith("path:"):
                yield f"{used.place}.{name}", location.removeprefix("path:")


def _named(value: Any) -> Iterator[NamedPath]:
    if isinstance(value, NamedPath):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _named(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _named(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _named(item)


def _code(block: Block, recipe: Recipe) -> tuple[str, Code | None]:
    """A component as ``<kind> <name>`` and its code; None for a bundled one."""
    plugin = block.plugin
    name = f"{plugin.kind} {plugin.name}"
    offer = recipe.manager.offers.get((plugin.kind, plugin.name))
    if offer is None or offer.distribution.startswith(BUNDLED):
        return name, None  # between versions their numbers stay, or the changelog says so
    given = Path(offer.distribution) in recipe.manager.files
    by = f"--plugin {Path(offer.distribution).name}" if given else offer.distribution
    return name, Code(by, code_digest(_sources(offer.registered)))


def _sources(plugin: object) -> list[Path]:
    """The Python files of a registered plugin: its module, or all of the package that holds it."""
    of = getattr(plugin, "__module__", type(plugin).__module__)
    module = plugin if hasattr(plugin, "__file__") else sys.modules.get(of)
    file = Path(getattr(module, "__file__", None) or "")
    if not file.is_file():
        return []
    return sorted(file.parent.rglob("*.py")) if getattr(module, "__package__", "") else [file]
