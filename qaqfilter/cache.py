"""The user's cache folder, where the platform wants it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """QAQFILTER_CACHE; else `qaqfilter` below XDG_CACHE_HOME or the platform's cache folder."""
    if own := os.environ.get("QAQFILTER_CACHE"):
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if Path(xdg).is_absolute():  # the standard: a relative one is to be ignored
        return Path(xdg) / "qaqfilter"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "qaqfilter" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qaqfilter"
    return Path.home() / ".cache" / "qaqfilter"
