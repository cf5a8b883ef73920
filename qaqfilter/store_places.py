"""Where the score store is: what the recipe says, the environment, or the user's cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from qaqfilter.addresses import is_address
from qaqfilter.cache import user_cache
from qaqfilter.errors import StoreError


def root_of(asked: str | Literal[False] | None) -> Path | None:
    """The folder of the stores: the recipe's, or the default; None for none."""
    if asked is False:
        return None
    return Path(asked).expanduser() if asked else default_root()


def default_root() -> Path:
    """QAQFILTER_STORE, or `scores` in the cache."""
    chosen = os.environ.get("QAQFILTER_STORE")
    if chosen and is_address(chosen):
        raise StoreError("QAQFILTER_STORE must be a folder of this machine, and is an address")
    return Path(chosen).expanduser() if chosen else user_cache() / "scores"
