"""What is installed here: versions, devices, plugins."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from qaqfilter.errors import PluginError
from qaqfilter.manager import KINDS, PluginManager
from qaqfilter_doctor.devices import device_options

PACKAGES = (
    "qaqfilter",
    "pluggy",
    "pydantic",
    "numpy",
    "pyarrow",
    "tokenizers",
    "safetensors",
    "torch",
    "transformers",
    "llama-cpp-python",
    "gguf",
)


def versions() -> Iterator[tuple[str, str]]:
    """(package, version), "not installed" where it is not; the interpreter and machine first."""
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "processors", str(os.cpu_count())
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"


def backends(manager: PluginManager) -> Iterator[tuple[str, str]]:
    """(backend, its devices), or what is missing."""
    for name in manager.names("backend"):
        try:
            manager.require("backend", name)
        except PluginError as error:
            yield name, str(error).rpartition(". ")[2]
            continue
        yield name, ", ".join(device for device, _ in device_options(name))


def plugins(manager: PluginManager) -> Iterator[tuple[str, str, str]]:
    """(distribution, plugin, what it offers); broken and blocked plugins with the reason."""
    offered: dict[tuple[str, str], list[str]] = {}
    for kind in KINDS:
        for name in manager.names(kind):
            offer = manager.offers[kind, name]
            offered.setdefault((offer.distribution, offer.plugin), []).append(f"{kind} {name}")
    for (distribution, plugin), what in sorted(offered.items()):
        yield distribution, plugin, ", ".join(what)
    for broken in manager.broken:
        yield broken.distribution, broken.plugin, f"BROKEN: {broken.cause}"
    for blocked in manager.blocked:
        yield "", blocked, "blocked by QAQFILTER_BLOCK_PLUGINS"
