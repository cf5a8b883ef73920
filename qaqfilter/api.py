"""The same as the command line, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qaqfilter.manager import load_plugins
from qaqfilter.recipe import Recipe, load_recipe
from qaqfilter.reports import Observer, RunReport


def run(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    limit: int | None = None,
    replace: bool = False,
    observer: Observer | None = None,
) -> RunReport:
    """Run a recipe file and return the account of the run.

    `overrides` are ``a.b.c=value`` as for ``--set``; `plugins` are single-file plugins; `limit`
    reads only so many records; `replace` overwrites a finished run in the same folder.
    Raises RecipeError, with every problem found, before anything is read; other
    QaqfilterErrors later.
    """
    from qaqfilter.engine import run_recipe

    manager = load_plugins(tuple(plugins))
    loaded = load_recipe(Path(recipe), manager, overrides)
    return run_recipe(loaded, manager, observer or Silent(), limit=limit, replace=replace)


def validate(
    recipe: str | Path, *, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = ()
) -> Recipe:
    """Check a recipe without reading its input or loading a model. Raises RecipeError."""
    return load_recipe(Path(recipe), load_plugins(tuple(plugins)), overrides)


class Silent:
    """An observer that says nothing."""

    def started(self, label: str, records: int | None) -> None: ...
    def advanced(self, records: int, tokens: int) -> None: ...
    def finished(self) -> None: ...
    def message(self, text: str) -> None: ...
