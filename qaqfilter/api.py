"""The same as the command line, from Python."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from qaqfilter.manager import load_plugins
from qaqfilter.recipe import Recipe, load_recipe
from qaqfilter.reports import Observer, RunReport

Paths = Sequence[str | Path]


def run(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    plugins: Paths = (),
    limit: int | None = None,
    replace: bool = False,
    observer: Observer | None = None,
) -> RunReport:
    """Run a recipe file and return the account of the run.

    `overrides` are ``a.b.c=value`` as for ``--set``; `plugins` are single-file plugins; `limit`
    reads only so many records; `replace` overwrites a finished run in the same folder.
    A finished run of the same recipe over the same input is not done again.
    Raises RecipeError, with every problem found, before anything is read; other
    QaqfilterErrors later.
    """
    from qaqfilter.engine import run_recipe
    from qaqfilter.manifest import Order

    manager = load_plugins(tuple(plugins))
    loaded = load_recipe(Path(recipe), manager, overrides)
    order = Order("run", limit)
    return run_recipe(loaded, manager, observer or Silent(), order, replace=replace)


def score_recipe(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    plugins: Paths = (),
    limit: int | None = None,
    everything: bool = False,
    replace: bool = False,
    observer: Observer | None = None,
) -> RunReport:
    """The first half of `run`: score what the chain gets to see, and write scores.parquet.

    With `everything`, score every record for every step. Arguments and errors as for `run`.
    """
    from qaqfilter.engine import run_recipe
    from qaqfilter.manifest import Order

    manager = load_plugins(tuple(plugins))
    loaded = load_recipe(Path(recipe), manager, overrides)
    order = Order("score", limit, everything)
    return run_recipe(loaded, manager, observer or Silent(), order, replace=replace)


def select_recipe(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    plugins: Paths = (),
    scores: str | Path | None = None,
    unscored: Literal["refuse", "reject"] = "refuse",
    write: bool = True,
    replace: bool = False,
    observer: Observer | None = None,
) -> RunReport:
    """The second half of `run`: decide by the numbers that a run left; no model is loaded.

    `scores` is the folder of that run, the recipe's own by default. A record that gets to a step
    for which it was never scored is refused (NotScored), or rejected as ``not_scored``. Without
    `write` only the report is made. Other arguments and errors as for `run`.
    """
    from qaqfilter import selecting

    manager = load_plugins(tuple(plugins))
    loaded = load_recipe(Path(recipe), manager, overrides)
    options = [*_options("--set", overrides), *_options("--plugin", plugins), "--replace"]
    selection = selecting.Selection(
        scores=None if scores is None else Path(scores),
        unscored=unscored,
        write=write,
        score_by=shlex.join(["qaqfilter", "run", str(recipe), *options]),
    )
    return selecting.select_recipe(
        loaded, manager, observer or Silent(), selection, replace=replace
    )


def validate(recipe: str | Path, *, overrides: Sequence[str] = (), plugins: Paths = ()) -> Recipe:
    """Check a recipe without reading its input or loading a model. Raises RecipeError."""
    return load_recipe(Path(recipe), load_plugins(tuple(plugins)), overrides)


def _options(name: str, values: Paths) -> list[str]:
    return [word for value in values for word in (name, str(value))]


class Silent:
    """An observer that says nothing."""

    def started(self, label: str, records: int | None) -> None: ...
    def advanced(self, records: int, tokens: int) -> None: ...
    def finished(self) -> None: ...
    def message(self, text: str) -> None: ...
