"""What to do about a finished run that stands where a run is to go."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from qaqfilter.addresses import Address
from qaqfilter.errors import RunDirectoryError
from qaqfilter.grounds import changes
from qaqfilter.input_parts import InputPart, differences
from qaqfilter.manifest import Manifest, Order, as_written, changed_keys
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer, RunReport
from qaqfilter.run_directory import ELSEWHERE

SHOWN = 20
"""Changed keys or parts that a message lists."""


def check_recipe(manifest: Manifest | None, order: Order, recipe: Recipe) -> None:
    """Refuse to overwrite a run of another recipe, or of another kind: RunDirectoryError.

    Nor is the same recipe with other files, or another plugin's code, behind it the same run.
    """
    if manifest is None:
        return
    holds = f"{manifest.report.folder} holds "
    only_scores = manifest.order.command == "score"
    if only_scores and order.command == "run":
        raise RunDirectoryError(
            f"{holds}the numbers of `qaqfilter score`: decide by them with `qaqfilter select`, or "
            f"{ELSEWHERE}"
        )
    changed = list(changed_keys(manifest.recipe, as_written(recipe.resolved())))
    if manifest.order.limit != order.limit:
        changed.append(f"--limit: {manifest.order.limit} -> {order.limit}")
    if order.everything and not manifest.order.everything:
        changed.append("--all: it was not given")
    if order.command == "score" and not only_scores:
        changed.append("command: run -> score")
    of = "another recipe:" if changed else "this recipe, and what it stands on has changed since:"
    files, plugins = changes(manifest.grounds, recipe, gone=order.command != "select")
    if changed := [*changed, *files, *plugins]:
        raise RunDirectoryError(f"{holds}a finished run of {of}\n{_listed(changed)}\n{ELSEWHERE}")


def check_scores(
    manifest: Manifest, where: Path | Address, recipe: Recipe, score_by: str
) -> Sequence[str]:
    """Refuse numbers that hang on files which have changed since; phrases for changed plugins.

    `where` is what messages call the folder of the run, `score_by` the command that scores anew.
    """
    files, plugins = changes(manifest.grounds, recipe, of_scores=True, gone=False)
    if files:
        raise RunDirectoryError(
            f"the numbers in {where} are of files that have changed since:\n{_listed(files)}\n"
            f"score anew with: {score_by}"
        )
    return plugins


def finished_already(
    manifest: Manifest, parts: Sequence[InputPart], observer: Observer
) -> RunReport:
    """The report of a finished run of this very recipe; RunDirectoryError if the input changed."""
    changed = list(differences(manifest.input, parts))
    if changed:
        raise RunDirectoryError(
            f"{manifest.report.folder} holds a finished run of this recipe, and the input has "
            f"changed since:\n{_listed(changed)}\n{ELSEWHERE}"
        )
    say_finished(manifest, observer)
    return manifest.report


def say_finished(manifest: Manifest, observer: Observer) -> None:
    """That there is nothing to do."""
    observer.message(
        f"{manifest.report.folder} holds this very run, finished {manifest.finished}: nothing to "
        "do (--replace does it again)"
    )


def _listed(phrases: Sequence[str]) -> str:
    lines = [f"  {phrase}" for phrase in islice(phrases, SHOWN)]
    return "\n".join([*lines, *([f"  and {len(phrases) - SHOWN} more"] * (len(phrases) > SHOWN))])
