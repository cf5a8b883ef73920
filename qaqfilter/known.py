"""What the numbers of a finished run are worth to a recipe that may have changed since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

from qaqfilter.addresses import Address
from qaqfilter.annotating import annotatable
from qaqfilter.columns import Columns
from qaqfilter.details import detailed, wanted_by
from qaqfilter.errors import RunDirectoryError
from qaqfilter.input_parts import whole_digest
from qaqfilter.manifest import Manifest, as_written, changed_keys, read_manifest
from qaqfilter.protocols import Source
from qaqfilter.recipe import Recipe
from qaqfilter.scores_file import SCORES, Scored, read_scores
from qaqfilter.spooling import Spools
from qaqfilter.stream import RecordStream
from qaqfilter.tokens_file import TOKENS, likelihoods_in, load_tokens
from qaqfilter.types import Record


def known_numbers(
    folder: Path, where: Path | Address, recipe: Recipe, score_by: str
) -> tuple[Manifest, Scored]:
    """The numbers of the run in `folder` that a run of this recipe would get too.

    `where` is what messages call the folder, which may hold copies; `score_by` is the command that
    makes them anew. Raises RunDirectoryError where there are none, or where they are of another
    input.
    """
    manifest = read_manifest(folder)
    if manifest is None or SCORES not in manifest.files:
        why = "is no finished run" if manifest is None else "is a run without scores.parquet"
        raise RunDirectoryError(
            f"in {where} there {why}, so there are no numbers to select by; make them with: "
            f"{score_by}"
        )
    now = as_written(recipe.resolved())
    scored = read_scores(folder / SCORES)
    whole = sum(part.records for part in manifest.input)
    if scored.input_digest != whole_digest(manifest.input) or scored.columns.size != whole:
        raise RunDirectoryError(
            f"{where / SCORES} is not the file that {manifest.finished} was written there; make "
            f"it anew with: {score_by}"
        )
    if _of_source(manifest.recipe) != _of_source(now):
        keys = changed_keys(*({"input": r["input"], "steps": []} for r in (manifest.recipe, now)))
        raise RunDirectoryError(
            f"the numbers in {where} are of another input ({'; '.join(keys)}); score this one "
            f"with: {score_by}"
        )
    _forget(scored.columns, manifest.recipe, now)
    return manifest, scored


def known_tokens(folder: Path, manifest: Manifest, scored: Scored, recipe: Recipe) -> Sequence[str]:
    """The likelihoods that the recipe wants by the token and the run in `folder` has so.

    Those that selectors ask for are loaded. A likelihood that is wanted and is there as a sum
    alone is forgotten: it has to be scored again, and is missing like one that never was.
    """
    columns, wanted = scored.columns, detailed(recipe)
    there: Sequence[str] = ()
    if wanted and TOKENS in manifest.files:
        there = likelihoods_in(folder / TOKENS, scored.input_digest, columns.size)
    for name in wanted.difference(there):
        columns.likelihoods.pop(name, None)
    found = [name for name in there if name in wanted and name in columns.likelihoods]
    asked = {f"{step.view(m)}.{name}" for step in recipe.steps for m, name in wanted_by(step)}
    if needed := [name for name in found if name in asked]:
        load_tokens(folder / TOKENS, columns, needed)
    return found


def _of_source(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What decides which records there are; what is done about bad ones does not."""
    return {k: v for k, v in recipe["input"].items() if k not in ("on_error", "max_errors")}


def _forget(columns: Columns, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Drop the numbers that the recipe as it is now would not get, and those of its steps."""
    old, new = ({step["id"]: step for step in recipe["steps"]} for recipe in (before, now))
    measured = {f"{step}.{n}" for step, m in columns.measured.items() for n in m.names}
    for step in [*columns.measured]:
        if _asked(old.get(step), _DECIDES) != _asked(new.get(step), _DECIDES):
            measured -= {f"{step}.{name}" for name in columns.measured.pop(step).names}
            for name in [name for name in columns.groups if name.startswith(f"{step}.")]:
                del columns.groups[name]
    lost = set()
    for name in columns.likelihoods:
        view = name.rpartition(".")[0]
        if _view(view, before, old) != _view(view, now, new) or _view(view, now, new) is None:
            lost.add(view)
    for name in [name for name in columns.likelihoods if name.rpartition(".")[0] in lost]:
        del columns.likelihoods[name]
    for name in [*columns.numbers]:
        owner = name.partition(".")[0]
        if owner in lost or (owner in old and name not in measured):
            del columns.numbers[name]


_DECIDES = ("keep", "strata", "prompt")
"""Keys of a step that change nothing in what it takes from the text."""


def _asked(step: Mapping[str, Any] | None, others: Sequence[str]) -> dict[str, Any] | None:
    return None if step is None else {k: v for k, v in step.items() if k not in others}


def _view(view: str, recipe: Mapping[str, Any], steps: Mapping[str, Any]) -> Any:
    """All that a view's numbers depend on; None where the recipe has no such view."""
    step, at, model = view.rpartition("@")
    block = recipe["models"].get(model)
    prompt = steps.get(step, {}).get("prompt") if at else None
    if block is not None:
        block = {key: value for key, value in block.items() if key != "detail"}
    return None if block is None or (at and prompt is None) else (block, prompt)


def known_stream(folder: Path, manifest: Manifest, recipe: Recipe) -> RecordStream:
    """The input of the run in `folder`; whoever reads it is told if it is another by now."""
    source: Source = recipe.source.make()
    if isinstance(source, Spools):
        source.use_spool(folder)
    return RecordStream(
        annotatable(source, recipe),
        recipe.input,
        manifest.order.limit,
        manifest.input,
        plugin=recipe.source.plugin,
    )


def relabelled(stream: RecordStream, scored: Scored) -> Iterator[Record]:
    """Every record in order, by the label that the earlier run gave it."""
    labels = (label for piece in scored.places() for label in piece.id.to_pylist())
    for record, label in zip(stream.read(), labels, strict=True):
        yield record if record.id == label else with_fields(record, id=label)
