"""What can be wrong with a recipe's `output`, beside what each of its keys can hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

from qaqfilter.blocks import Block
from qaqfilter.errors import PluginError
from qaqfilter.manager import PluginManager
from qaqfilter.options import STDOUT
from qaqfilter.output_files import ShardOptions
from qaqfilter.overlap import reads_own_output
from qaqfilter.protocols import Component
from qaqfilter.recipe_keys import OutputKeys
from qaqfilter.sinks import Annotates


def output_problems(
    source: Block, output: OutputKeys, sink: Block, manager: PluginManager
) -> Iterator[tuple[tuple[str, str], str]]:
    """Where in the recipe, and what is wrong there."""
    name = sink.component.name
    if output.path != STDOUT:
        same = source.component.name == name
        for key, text in reads_own_output(source.options, output.path, same_format=same):
            yield ("input", key), text
    elif isinstance(sink.options, ShardOptions):
        for key in sink.options.asked:
            text = "standard output (path: '-') takes one file: leave this out, or name a folder"
            yield ("output", key), text
    for page in output.pages:
        try:
            manager.require("page", page)
        except PluginError as error:
            yield ("output", "pages"), str(error)
    if output.annotate is not None and not can_annotate(sink.component):
        text = f"sink {name!r} writes records as they are, and no numbers: leave this out"
        yield ("output", "annotate"), f"{text}; they are in scores.parquet"


def can_annotate(component: Component[Any]) -> bool:
    """Whether a sink takes numbers: its class, or what its factory is annotated to return."""
    made: Any = component.create
    if not isinstance(made, type):
        made = get_type_hints(made).get("return")
    return isinstance(made, type) and issubclass(made, Annotates)
