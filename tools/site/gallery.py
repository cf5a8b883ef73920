"""The page of all plugins that come with qaqfilter, from what they offer when they are loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from outside import SiteError
from pydantic import ValidationError

from qaqfilter.manager import KINDS, Offer, PluginManager, load_plugins
from qaqfilter.options import MODEL_NAME, fields_marked

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import recipe_reference as reference

TITLES = {
    "source": ("Sources", "Where records come from: `input: {use: ...}`."),
    "sink": ("Sinks", "Where records go: `output: {use: ...}`."),
    "backend": ("Backends", "Language models: `models: {name: {use: ...}}`."),
    "selector": (
        "Selectors",
        "Scores to filter by: `use` of a step. Columns are those of the "
        "default options; `keep` judges the first.",
    ),
    "prompt": ("Prompt formats", "How a record becomes text for a model: `prompt: {use: ...}`."),
    "preset": ("Presets", "Steps, written out: `preset` of a step."),
    "executor": ("Executors", "Where scoring runs: `run: {executor: ...}`."),
    "model": ("Model locations", "What may stand before the colon of `model: scheme:...`."),
    "command": ("Commands", "Verbs of the command line beside those of the core."),
    "damage": ("Damages", "Ways to spoil copies of good records, for `qaqfilter calibrate`."),
    "page": ("Pages", "Pages in the run directory: `output: {pages: [...]}`."),
}
IN_THE_REFERENCE = ("source", "sink", "backend", "selector", "prompt", "executor")
"""Kinds whose options stand in the recipe reference, under a heading each."""
ELSEWHERE = {
    "preset": "presets.md",
    "model": "recipe-reference.md#model-locations",
    "command": "commands.md",
    "damage": "calibrate.md",
    "page": "report.md",
}


def gallery() -> str:
    """The page. Raises SiteError where a bundled plugin does not load: it would be missing."""
    manager = load_plugins()
    if manager.broken or manager.blocked:
        names = [broken.plugin for broken in manager.broken] + manager.blocked
        raise SiteError(f"plugins could not be loaded, the gallery needs all: {names}")
    offers = [offer for kind in KINDS for offer in reference.own(manager, kind)]
    packages = {offer.plugin for offer in offers}
    counted = f"{len(packages)} plugins offer {len(offers)} components"
    parts = [
        f"# Bundled plugins\n\n{counted}. They come with qaqfilter and enter by the same door as "
        "anybody's ([Writing a plugin](plugins.md)). `qaqfilter plugins` lists what is installed "
        "on your machine, other people's included. Where an extra is named, "
        "`pip install 'qaqfilter[extra]'` brings what the plugin needs.\n"
    ]
    for kind in KINDS:
        parts += _section(kind, manager)
    return "\n".join(parts)


def _section(kind: str, manager: PluginManager) -> Iterator[str]:
    title, what = TITLES[kind]
    heading = ["name", "what it is", "package", "extra"]
    selectors = kind == "selector"
    if selectors:
        heading.insert(2, "columns")
    yield f"## {title}\n\n{what}\n"
    rows = []
    for offer in reference.own(manager, kind):
        row = [_link(offer), offer.component.summary, f"`{_package(offer)}`", _extra(offer)]
        if selectors:
            row.insert(2, ", ".join(f"`{name}`" for name in columns(offer)))
        rows.append(tuple(row))
    yield reference.grid(tuple(heading), rows)


def _link(offer: Offer) -> str:
    """The name; it leads to the options, a selector's to its page, which links to them."""
    name = offer.component.name
    if offer.kind == "selector":
        options = f"recipe-reference.md#selector-{name}"
        return f"[`{name}`](selectors/{name}.md) ([options]({options}))"
    if offer.kind in IN_THE_REFERENCE:
        return f"[`{name}`](recipe-reference.md#{offer.kind}-{name})"
    return f"[`{name}`]({ELSEWHERE[offer.kind]})"


def _package(offer: Offer) -> str:
    """The import package behind an entry point."""
    points = metadata.entry_points(group="qaqfilter", name=offer.plugin)
    return str(next(iter(points)).module)


def _extra(offer: Offer) -> str:
    needs = offer.component.needs
    return f"`{needs.pip.partition('[')[2].rstrip(']')}`" if needs is not None else ""


def columns(offer: Offer) -> tuple[str, ...]:
    """A selector's columns: of one made with the default options, or else of its class."""
    made = offer.component
    declared = getattr(made.create, "columns", None)
    if isinstance(declared, tuple):
        return declared
    models: dict[str, Any] = {name: name for name in fields_marked(made.config, MODEL_NAME)}
    try:
        return tuple(made.create(made.config.model_validate(models)).columns)
    except ValidationError as error:
        raise SiteError(
            f"gallery.py: {made.name} has required options and no `columns` of its class: {error}"
        ) from error
