"""YAML -> Recipe. Every error names file, line, key path and the fix; all are reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qaqfilter.blocks import Block, BlockReader
from qaqfilter.errors import RecipeError
from qaqfilter.manager import PluginManager
from qaqfilter.naming import check_names
from qaqfilter.options import LOCATION, fields_marked
from qaqfilter.output_checks import output_problems
from qaqfilter.presets import with_preset
from qaqfilter.recipe_keys import (
    InputKeys,
    ModelKeys,
    OutputKeys,
    RecipeKeys,
    RunKeys,
    StepKeys,
)
from qaqfilter.selectors import Decides, Measures, Scores, Selector
from qaqfilter.yamlfile import YamlFile, read_yaml

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the recipe and the prompt it is asked with."""

    name: str
    backend: Block
    prompt: Block
    keys: ModelKeys


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its selector, made from validated options, and what to do with the scores.

    `group_column` is the column that its `group` names; None where that is a field, or nothing.
    """

    id: str
    block: Block
    selector: Selector
    keys: StepKeys
    prompt: Block | None
    group_column: str | None = None

    def view(self, model: str) -> str:
        """The name under which this step's likelihoods of `model` stand in tables.

        The model's own, unless the step brings a prompt: then its numbers are its own too.
        """
        return model if self.prompt is None else f"{self.id}@{model}"

    @property
    def needs(self) -> Sequence[tuple[str, str]]:
        """(model, likelihood) pairs; empty for a step that needs no model."""
        return tuple(self.selector.needs) if isinstance(self.selector, Scores) else ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A validated recipe: nothing in it can still be wrong without running it."""

    name: str
    path: Path
    source: Block
    input: InputKeys
    models: Mapping[str, Model]
    steps: tuple[Step, ...]
    sink: Block
    output: OutputKeys
    executor: Block
    run: RunKeys
    manager: PluginManager = field(repr=False, compare=False)  # the plugins it was checked with
    overrides: tuple[str, ...] = ()

    def prompt(self, step: Step, model: str) -> Block:
        """The prompt of a model in a step: the step's, else the model's, else the recipe's."""
        return step.prompt or self.models[model].prompt

    def resolved(self) -> dict[str, Any]:
        """The recipe fully written out, as plain data."""
        return {
            "version": 1,
            "name": self.name,
            "input": self.source.as_data() | self.input.model_dump(mode="json"),
            "models": {
                name: model.backend.as_data()
                | model.keys.model_dump(mode="json", exclude={"prompt"})
                | {"prompt": model.prompt.as_data()}
                for name, model in self.models.items()
            },
            "steps": [
                step.block.as_data()
                | step.keys.model_dump(mode="json", exclude={"prompt"}, exclude_none=True)
                | ({"prompt": step.prompt.as_data()} if step.prompt else {})
                for step in self.steps
            ],
            "output": self.sink.as_data() | self.output.model_dump(mode="json"),
            "run": self.run.model_dump(mode="json") | {"executor": self.executor.as_data()},
        }


def load_recipe(
    path: Path, manager: PluginManager, overrides: Sequence[str] = (), *, opens_models: bool = True
) -> Recipe:
    """Read and validate a recipe, as `build_recipe` does. RecipeError with every problem found."""
    recipe = build_recipe(read_yaml(path, overrides), path, manager, opens_models=opens_models)
    return replace(recipe, overrides=tuple(overrides))


def build_recipe(
    file: YamlFile, path: Path, manager: PluginManager, *, opens_models: bool = True
) -> Recipe:
    """Validate an already parsed recipe; `path` is what its relative paths are relative to.

    Without `opens_models` what the backends need does not have to be installed, nor be there.
    """
    reader = BlockReader(file, manager, path.parent.absolute(), opens_models=opens_models)
    top = reader.core(RecipeKeys, file.data, ()) or _what_can_be_read(file.data)
    if top is None:
        raise RecipeError(reader.problems)
    reader.seed, reader.models = top.run.seed, tuple(top.models)
    for name in top.models:
        if not NAME.match(name):
            reader.complain(("models", name), "a model name is letters, digits, _ and -")

    source = reader.split(InputKeys, top.input, ("input",), "source")
    sink = reader.split(OutputKeys, top.output, ("output",), "sink")
    executor = {"use": raw} if isinstance(raw := top.run.executor, str) else raw
    executor_block = reader.block(executor, ("run", "executor"), "executor")
    default = reader.block(
        {"use": "plain"} if top.prompt is None else top.prompt, ("prompt",), "prompt"
    )
    models = {
        name: model
        for name, raw in top.models.items()
        if (model := _model(reader, name, raw, default)) is not None
    }
    if source and sink:
        for location, text in output_problems(source[1], *sink, manager):
            reader.complain(location, text)
    steps = [_step(reader, index, raw) for index, raw in enumerate(top.steps)]
    _check_names(reader, steps)
    steps = _with_group_columns(reader, steps)
    if reader.problems or source is None or sink is None or executor_block is None:
        raise RecipeError(reader.problems)
    return Recipe(
        name=top.name,
        path=path,
        source=source[1],
        input=source[0],
        models=models,
        steps=tuple(step for step in steps if step is not None),
        sink=sink[1],
        output=sink[0],
        executor=executor_block,
        run=top.run,
        manager=manager,
    )


def _what_can_be_read(data: Mapping[str, Any]) -> RecipeKeys | None:
    """A recipe whose top level is wrong: what is known of it, so that the rest is checked too."""
    neutral = {"version": 1, "name": "?", "run": {}}
    known = {key: value for key, value in data.items() if key in RecipeKeys.model_fields}
    try:
        return RecipeKeys.model_validate(known | neutral)
    except ValidationError:
        return None


def _model(reader: BlockReader, name: str, raw: Any, default: Block | None) -> Model | None:
    location = ("models", name)
    parts = reader.split(ModelKeys, raw, location, "backend")
    if parts is None:
        return None
    keys, backend = parts
    if keys.sha256 is not None and not fields_marked(backend.component.config, LOCATION):
        use = backend.component.name
        reader.complain((*location, "sha256"), f"{use!r} loads no weights; remove this key")
    if keys.prompt is not None:
        default = reader.block(keys.prompt, (*location, "prompt"), "prompt")
    return Model(name, backend, default, keys) if default is not None else None


def _step(reader: BlockReader, index: int, raw: Any) -> Step | None:
    location = ("steps", index)
    filled = with_preset(reader, raw, location)
    if filled is None and raw is not None:
        return None
    parts = reader.split(StepKeys, filled, location, "selector")
    if parts is None:
        return None
    keys, block = parts
    prompt = None
    if keys.prompt is not None:
        prompt = reader.block(keys.prompt, (*location, "prompt"), "prompt")
    if any(problem for problem in reader.problems):
        return Step(keys.id, block, _Unmade(), keys, prompt)
    selector = block.make()
    if not isinstance(selector, Scores | Measures):
        lacks = "`measure`, or `score` with `needs`, which is () where it asks no model"
        reader.complain(location, f"selector {block.component.name!r} lacks {lacks}")
    if isinstance(selector, Decides) and keys.keep is not None:
        reader.complain((*location, "keep"), f"{block.component.name!r} decides itself: no `keep`")
    return Step(keys.id, block, selector, keys, prompt)


class _Unmade:
    """Stands for a selector that cannot be made because the recipe already has problems."""

    columns: Sequence[str] = ()


def _check_names(reader: BlockReader, steps: Sequence[Step | None]) -> None:
    seen: dict[str, int] = {}
    for index, step in enumerate(steps):
        if step is None:
            continue
        location = ("steps", index, "id")
        if not NAME.match(step.id):
            reader.complain(location, f"{step.id!r}: a step id is letters, digits, _ and -")
        if step.id in seen:
            first = reader.file.place(("steps", seen[step.id], "id"))
            reader.complain(location, f"step id {step.id!r} stands twice; the first is at {first}")
        if step.id in reader.models:
            reader.complain(location, f"{step.id!r} is a model's name too; columns would clash")
        seen.setdefault(step.id, index)


def _with_group_columns(reader: BlockReader, steps: Sequence[Step | None]) -> list[Step | None]:
    """The steps with what their `group` means, as far as there are selectors to ask."""
    made = takewhile(lambda step: step and not isinstance(step.selector, _Unmade), steps)
    known = [step for step in made if step is not None]
    columns = check_names(reader, [(step.selector, step.keys, step.block) for step in known])
    done = [replace(step, group_column=name) for step, name in zip(known, columns, strict=True)]
    return [*done, *steps[len(known) :]]
