"""A function that is marked as a hook and is none: named, with the hook that was probably meant."""

from __future__ import annotations

import difflib

from qaqfilter.errors import PluginError
from qaqfilter.hookspecs import PROJECT, Specs


def refuse_unknown_hooks(plugin: object, name: str, distribution: str) -> None:
    """Raise PluginError: a misspelt hook is silent in pluggy until checked."""
    real = [hook for hook in vars(Specs) if hook.startswith("qaqfilter_")]
    marked = [n for n in dir(plugin) if hasattr(getattr(plugin, n, None), f"{PROJECT}_impl")]
    for hook in marked:
        if hook not in real:
            close = difflib.get_close_matches(hook, real, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise PluginError(f"plugin {name!r} ({distribution}): no hook is called {hook!r}{hint}")
    if not marked:
        raise PluginError(
            f"plugin {name!r} ({distribution}) implements no hook: mark a function named as in "
            "qaqfilter/hookspecs.py with @qaqfilter.hookimpl"
        )
