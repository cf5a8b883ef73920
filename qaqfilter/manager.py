"""Finds plugins, checks them, and hands out their components by name.

The only file that touches pluggy's untyped hook caller: `Any` stops here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pluggy

from qaqfilter.discovery import entry_points, import_file, is_installed, timed
from qaqfilter.errors import ModelError, PluginError, PluginFailed
from qaqfilter.hook_names import refuse_unknown_hooks
from qaqfilter.hookspecs import PROJECT, Specs
from qaqfilter.model_files import Locator, ModelFiles
from qaqfilter.protocols import Component
from qaqfilter.reports import RunReport
from qaqfilter.table import Table
from qaqfilter.types import Decisions

KINDS: Mapping[str, str] = {
    "source": "qaqfilter_sources",
    "sink": "qaqfilter_sinks",
    "backend": "qaqfilter_backends",
    "selector": "qaqfilter_selectors",
    "prompt": "qaqfilter_prompts",
    "preset": "qaqfilter_presets",
    "executor": "qaqfilter_executors",
    "model": "qaqfilter_models",
    "command": "qaqfilter_commands",
    "damage": "qaqfilter_damages",
    "page": "qaqfilter_pages",
}
"""Kind of component -> the hook that yields it."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that could not be loaded: kept, so that the message can name the first cause."""

    plugin: str
    distribution: str
    cause: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A component and who offers it; `registered` is the plugin itself."""

    kind: str
    component: Component[Any]
    plugin: str
    distribution: str
    registered: object


@dataclass(slots=True)
class PluginManager:
    """All loaded plugins. Make one with `load_plugins`.

    `distributions` and `seconds` say of each plugin who offers it, and how long it took to load.
    """

    _pm: pluggy.PluginManager
    offers: dict[tuple[str, str], Offer] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    distributions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    # --- loading ------------------------------------------------------------------------

    def register(self, plugin: object, name: str, distribution: str) -> None:
        """Register one plugin and take in its components. Raises PluginError; then it is out."""
        refuse_unknown_hooks(plugin, name, distribution)
        try:
            self._pm.register(plugin, name=name)
            self._pm.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            self._pm.unregister(name=name)
            raise PluginError(
                f"plugin {name!r} ({distribution}) does not fit the hooks: {error}. "
                "The hooks and their arguments are in qaqfilter/hookspecs.py."
            ) from error
        try:
            found = [
                Offer(kind, component, name, distribution, plugin)
                for kind, hook in KINDS.items()
                for component in self._components(plugin, hook, name, distribution)
            ]
            for offer in found:
                self._refuse_clash(offer, found)
        except BaseException:
            self._pm.unregister(name=name)
            raise
        self.distributions[name] = distribution
        self.offers |= {(offer.kind, offer.component.name): offer for offer in found}

    def _components(
        self, plugin: object, hook: str, name: str, distribution: str
    ) -> list[Component[Any]]:
        others = [other for other in self._pm.get_plugins() if other is not plugin]
        caller = self._pm.subset_hook_caller(hook, remove_plugins=others)
        yielded = [component for part in caller() for component in part]
        for item in yielded:
            if not isinstance(item, Component):
                raise PluginError(
                    f"plugin {name!r} ({distribution}): {hook} yielded {item!r}, "
                    "not a qaqfilter.Component(name, config, create, summary)"
                )
        return yielded

    def _refuse_clash(self, offer: Offer, siblings: list[Offer]) -> None:
        key = (offer.kind, offer.component.name)
        same = [o for o in siblings if o is not offer and (o.kind, o.component.name) == key]
        other = self.offers.get(key) or (same[0] if same else None)
        if other is not None:
            # A file is left out by not naming it.
            one = other if offer.plugin.endswith(".py") else offer
            raise PluginError(
                f"two plugins offer the {offer.kind} {offer.component.name!r}: "
                f"{other.plugin!r} ({other.distribution}) and {offer.plugin!r} "
                f"({offer.distribution}). Uninstall one, or leave one out with "
                f"QAQFILTER_BLOCK_PLUGINS={one.plugin}"
            )

    # --- typed look-ups -----------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """The names of all components of a kind, sorted."""
        return sorted(name for of, name in self.offers if of == kind)

    def component(self, kind: str, name: str) -> Component[Any]:
        """A component by name. Raises PluginError with a suggestion and any broken plugin."""
        if (kind, name) in self.offers:
            return self.offers[kind, name].component
        known = self.names(kind)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}? " if close else ". "
        message = f"no {kind} is called {name!r}{hint}There are: {', '.join(known) or 'none'}."
        if self.broken:
            causes = "; ".join(f"{b.plugin!r} ({b.distribution}): {b.cause}" for b in self.broken)
            message += f" Plugins that could not be loaded and may offer it: {causes}."
        if self.blocked:
            message += f" Blocked by QAQFILTER_BLOCK_PLUGINS: {', '.join(self.blocked)}."
        raise PluginError(message)

    def require(self, kind: str, name: str) -> Component[Any]:
        """A component by name, with what it needs installed. Raises PluginError otherwise."""
        component = self.component(kind, name)
        if component.needs is not None:
            missing = [m for m in component.needs.modules if not is_installed(m)]
            if missing:
                raise PluginError(
                    f"the {kind} {name!r} needs {', '.join(missing)}, not installed here. "
                    f"Mend it with: pip install '{component.needs.pip}'"
                )
        return component

    def locate(self, location: str, revision: str | None = None) -> ModelFiles:
        """Resolve ``scheme:rest`` to files. Raises ModelError or PluginError."""
        scheme, colon, rest = location.partition(":")
        if not colon:
            raise ModelError(f"model location {location!r} has no scheme, such as hf: or path:")
        component = self.require("model", scheme)
        locator: Locator = component.create(component.config())
        return locator.locate(rest, revision)

    # --- watchers -----------------------------------------------------------------------

    def run_started(self, recipe: dict[str, object], run: str) -> None:
        """Tell watchers that a run begins."""
        self._tell("qaqfilter_run_started", recipe=recipe, run=run)

    def step_finished(self, step: str, table: Table, decisions: Decisions) -> None:
        """Tell watchers what a step decided."""
        self._tell("qaqfilter_step_finished", step=step, table=table, decisions=decisions)

    def run_finished(self, report: RunReport) -> None:
        """Tell watchers that the outputs are in place."""
        self._tell("qaqfilter_run_finished", report=report)

    def _tell(self, hook: str, **what: object) -> None:
        """Call each watcher by itself, so that one that fails can be named."""
        for name, plugin in self._pm.list_name_plugin():
            if plugin is None or not hasattr(plugin, hook):
                continue
            others = [other for other in self._pm.get_plugins() if other is not plugin]
            try:
                self._pm.subset_hook_caller(hook, remove_plugins=others)(**what)
            except Exception as error:
                raise PluginFailed(
                    f"plugin {name!r} ({self.distributions[name]}) failed in {hook}: "
                    f"{type(error).__name__}: {error}"
                ) from error


def load_plugins(files: tuple[str | Path, ...] = ()) -> PluginManager:
    """Load every entry point of the group ``qaqfilter``, then the given single-file plugins.

    A broken installed plugin is remembered, not raised: it is fatal only where a recipe asks
    for something that is then missing. A clash between two plugins, and a broken file given by
    the user, raise PluginError.
    """
    pm = pluggy.PluginManager(PROJECT)
    pm.add_hookspecs(Specs)
    manager = PluginManager(pm)
    block = {n.strip() for n in os.environ.get("QAQFILTER_BLOCK_PLUGINS", "").split(",")} - {""}
    for entry, distribution in entry_points():
        if entry.name in block:
            manager.blocked.append(entry.name)
            continue
        with timed(entry.name, distribution, manager.seconds):
            _load_guarded(manager, entry, distribution)
    for file in files:
        path = Path(file)
        # With its ending: a file may be called as a bundled plugin is.
        with timed(path.name, str(path), manager.seconds):
            manager.register(import_file(path), path.name, str(path))
        manager.files.append(path)
    return manager


def _load_guarded(manager: PluginManager, entry: EntryPoint, distribution: str) -> None:
    try:
        plugin = entry.load()
    except Exception as error:  # noqa: BLE001 - a stranger's import may raise anything
        cause = f"{type(error).__name__}: {error}"
        manager.broken.append(Broken(entry.name, distribution, cause))
        return
    try:
        manager.register(plugin, entry.name, distribution)
    except PluginError as error:
        if "two plugins offer" in str(error):
            raise
        manager.broken.append(Broken(entry.name, distribution, str(error)))
    except Exception as error:  # noqa: BLE001 - so may its hooks
        cause = f"{type(error).__name__}: {error}"
        manager.broken.append(Broken(entry.name, distribution, cause))
