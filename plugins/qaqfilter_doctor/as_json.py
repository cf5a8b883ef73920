"""What the doctor found, as plain data."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from qaqfilter.errors import PluginError
from qaqfilter.manager import KINDS, PluginManager
from qaqfilter_doctor.devices import device_options
from qaqfilter_doctor.installed import PACKAGES
from qaqfilter_doctor.selftest import Outcome


def as_data(manager: PluginManager, outcomes: Sequence[Outcome] | None) -> dict[str, Any]:
    """All of it. A package that is not installed is null; without a self-test so is `selftest`."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": {package: _version(package) for package in PACKAGES},
        "backends": [_backend(manager, name) for name in manager.names("backend")],
        "components": [
            {"kind": kind, "name": name, "plugin": offer.plugin, "distribution": offer.distribution}
            for kind in KINDS
            for name in manager.names(kind)
            for offer in (manager.offers[kind, name],)
        ],
        "broken": [
            {"plugin": one.plugin, "distribution": one.distribution, "error": str(one.cause)}
            for one in manager.broken
        ],
        "blocked": list(manager.blocked),
        "selftest": None if outcomes is None else [_outcome(outcome) for outcome in outcomes],
    }


def why(outcome: Outcome) -> str:
    """What is wrong with a check that failed."""
    return outcome.error or "its numbers differ from the stored ones"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _backend(manager: PluginManager, name: str) -> dict[str, Any]:
    """Its devices; or none, and what is missing."""
    try:
        manager.require("backend", name)
    except PluginError as error:
        return {"name": name, "devices": [], "error": str(error)}
    return {"name": name, "devices": [dev for dev, _ in device_options(name)], "error": None}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    """Differences in nats per token; null where there is no number, which JSON cannot say."""
    return {
        "backend": outcome.backend,
        "device": outcome.device,
        "model": outcome.model,
        "passed": outcome.passed,
        "error": None if outcome.passed else why(outcome),
        "tolerance": outcome.tolerance,
        "differences": {
            name: value if math.isfinite(value) else None
            for name, value in outcome.differences.items()
        },
    }
