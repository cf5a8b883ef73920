"""The same as the command line, from Python; and the same for records in memory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from qaqfilter import recipe as recipes
from qaqfilter.errors import UsageError
from qaqfilter.layouts import Turns
from qaqfilter.manager import load_plugins
from qaqfilter.progress import watched
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer, RunReport
from qaqfilter.types import LIKELIHOODS

if TYPE_CHECKING:
    import pyarrow

    from qaqfilter.estimates import RecipePlan
    from qaqfilter.previewed import Preview

Paths = Sequence[str | Path]
AnyRecipe = str | Path | Recipe
"""A recipe file, or a recipe that `load_recipe` read."""


def run(
    recipe: AnyRecipe,
    *,
    overrides: Sequence[str] = (),
    plugins: Paths = (),
    limit: int | None = None,
    replace: bool = False,
    observer: Observer | None = None,
    stdout: BinaryIO | None = None,
) -> RunReport:
    """Run a recipe, a file or a loaded one, and return the account of the run.

    `overrides` are ``a.b.c=value`` as for ``--set``; `plugins` are single-file plugins (both for
    a file only: a loaded recipe has its own); `limit` reads only so many records; `replace`
    overwrites a finished run in the same folder; `stdout` gets the kept records where
    ``output.path`` is ``-``. A finished run of the same recipe over the same input is not done
    again. Without an `observer`, progress is shown on a terminal and in a notebook; `Silent()`
    shows nothing.
    Raises RecipeError, with every problem found, before anything is read; other
    QaqfilterErrors later.
    """
    from qaqfilter.engine import run_recipe
    from qaqfilter.manifest import Order

    loaded = _loaded(recipe, overrides, plugins)
    order = Order("run", limit)
    with watched(observer) as watcher:
        return run_recipe(loaded, loaded.manager, watcher, order, replace=replace, stdout=stdout)


def score_recipe(
    recipe: AnyRecipe,
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

    loaded = _loaded(recipe, overrides, plugins)
    order = Order("score", limit, everything)
    with watched(observer) as watcher:
        return run_recipe(loaded, loaded.manager, watcher, order, replace=replace)


def select_recipe(
    recipe: AnyRecipe,
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

    `scores` is the folder or address of that run, the recipe's own by default. A record that gets
    to a step for which it was never scored is refused (NotScored), or rejected as ``not_scored``.
    Without `write` only the report is made. Other arguments and errors as for `run`.
    """
    from qaqfilter import selecting

    # What the models need may be on the machine that scored alone.
    loaded = _loaded(recipe, overrides, plugins, opens_models=False)
    given = [*_options("--set", loaded.overrides), *_options("--plugin", loaded.manager.files)]
    selection = selecting.Selection(
        scores=scores,
        unscored=unscored,
        write=write,
        score_by=shlex.join(["qaqfilter", "run", str(loaded.path), *given, "--replace"]),
    )
    with watched(observer) as watcher:
        return selecting.select_recipe(loaded, loaded.manager, watcher, selection, replace=replace)


def score(
    records: Any,
    *,
    models: Mapping[str, Mapping[str, Any]],
    likelihoods: Sequence[str] = LIKELIHOODS,
    prompt: Mapping[str, Any] | None = None,
    layout: str = "auto",
    fields: Mapping[str, str] | None = None,
    turns: Turns = "last",
    store: str | Path | Literal[False] | None = None,
    plugins: Paths = (),
    observer: Observer | None = None,
) -> pyarrow.Table:
    """Likelihoods of records in memory: a table with a row for each, in order.

    `records` are dicts, a `datasets.Dataset`, a pyarrow table, or a pandas or polars frame.
    `models` are blocks as in a recipe, ``{"strong": {"use": "reference", "model":
    "builtin:strong"}}``, with paths relative to the working directory; `prompt`, `layout`,
    `fields`, `turns` and `store` are as there.

    The table has ``id``, and for each model and likelihood ``<model>.<likelihood>.logprob`` (sum,
    nats), ``.tokens``, and ``.missing`` (why there is none, else null). A model with
    ``"detail": "tokens"`` has ``.logprobs`` too, a list with the number of each token. With
    ``turns="each"`` all these are lists, an item for each exchange. Raises UsageError at the
    first record that cannot be read, RecipeError, and other QaqfilterErrors.
    """
    from qaqfilter.tables import score_records

    rest = {
        "input": {"use": "records", "layout": layout, "fields": fields, "turns": turns},
        "prompt": None if prompt is None else dict(prompt),
        "run": {"store": str(store) if isinstance(store, Path) else store},
    }
    manager = load_plugins(tuple(plugins))
    with watched(observer) as watcher:
        return score_records(
            records, manager, watcher, models=models, likelihoods=likelihoods, rest=rest
        )


def select(
    table: pyarrow.Table,
    steps: Sequence[Mapping[str, Any]],
    *,
    records: Any = None,
    layout: str = "auto",
    fields: Mapping[str, str] | None = None,
    turns: Turns = "last",
    plugins: Paths = (),
    observer: Observer | None = None,
) -> pyarrow.Table:
    """Decide by a table of likelihoods (of `score`, or a scores.parquet): no model is loaded.

    `steps` are as in a recipe. The answer has a row for each of the table's: ``kept``, and for the
    others ``step``, ``reason``, ``value`` and ``bound``; and the steps' columns,
    ``<step>.<column>``. A step that looks at the text needs the `records` too, in the same order.
    Raises NotScored where a step needs likelihoods that the table lacks.
    """
    from qaqfilter.tables import select_rows

    rest = {"input": {"use": "records", "layout": layout, "fields": fields, "turns": turns}}
    manager = load_plugins(tuple(plugins))
    with watched(observer) as watcher:
        return select_rows(table, steps, manager, watcher, records=records, rest=rest)


def plan(
    recipe: AnyRecipe,
    *,
    overrides: Sequence[str] = (),
    plugins: Paths = (),
    sample: int = 200,
    limit: int | None = None,
    observer: Observer | None = None,
) -> RecipePlan:
    """What a run would ask of its models, from a sample; no weights are loaded, nothing is written.

    `sample` records, spread evenly over the input, are tokenised. Other arguments and errors as
    for `run`.
    """
    from qaqfilter.estimating import plan_recipe

    loaded = _loaded(recipe, overrides, plugins)
    with watched(observer) as watcher:
        return plan_recipe(loaded, loaded.manager, watcher, sample=sample, limit=limit)


def preview(
    recipe: AnyRecipe,
    *,
    overrides: Sequence[str] = (),
    plugins: Paths = (),
    records: int = 20,
    random: int | None = None,
    observer: Observer | None = None,
) -> Preview:
    """Run a recipe over a few records, and return each with its numbers and its fate.

    The first `records` records, or as many that the seed `random` draws. Nothing is written but
    to the score store. Other arguments and errors as for `run`.
    """
    from qaqfilter.previewing import preview_recipe

    loaded = _loaded(recipe, overrides, plugins)
    with watched(observer) as watcher:
        return preview_recipe(loaded, loaded.manager, watcher, records=records, random=random)


def load_recipe(path: str | Path, *, overrides: Sequence[str] = (), plugins: Paths = ()) -> Recipe:
    """Read and check a recipe, to look at or to run; its input is not read, no model is loaded.

    Arguments as for `run`. Raises RecipeError with every problem found.
    """
    return recipes.load_recipe(Path(path), load_plugins(tuple(plugins)), overrides)


def _loaded(
    recipe: AnyRecipe, overrides: Sequence[str], plugins: Paths, *, opens_models: bool = True
) -> Recipe:
    if not isinstance(recipe, Recipe):
        manager = load_plugins(tuple(plugins))
        return recipes.load_recipe(Path(recipe), manager, overrides, opens_models=opens_models)
    if overrides or plugins:
        raise UsageError(
            "this recipe is loaded already: give overrides and plugins to qaqfilter.load_recipe"
        )
    return recipe


def _options(name: str, values: Paths) -> list[str]:
    return [word for value in values for word in (name, str(value))]
