"""The recipe's executor, ready for a run: what it starts is stopped when the run is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from qaqfilter.execution import Executor, Starts
from qaqfilter.manager import PluginManager
from qaqfilter.portable import can_travel, packed
from qaqfilter.recipe import Recipe


@contextmanager
def executor_of(
    recipe: Recipe, manager: PluginManager, tell: Callable[[str], None]
) -> Iterator[Executor]:
    """The executor; `tell` gets what it has to say.

    Nothing is started for a recipe that asks no model. Raises a QaqfilterError where the run could
    not be done as it is asked for.
    """
    block = recipe.executor
    executor: Executor = block.make()
    with ExitStack() as running:
        if isinstance(executor, Starts) and any(step.needs for step in recipe.steps):
            run = packed(recipe, manager) if can_travel(recipe, manager) else None
            with block.plugin.blamed("start()"):
                running.enter_context(executor.start(run, tell))
        yield executor
