"""Decide anew from the numbers of a finished run: no model, no tokenizer, no text but the kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from functools import partial
from pathlib import Path
from typing import Literal

from qaqfilter.addresses import Address
from qaqfilter.chain import Chain
from qaqfilter.details import detailed
from qaqfilter.errors import NotScored
from qaqfilter.finishing import (
    account,
    for_people,
    publish,
    scores_file,
    tokens_file,
    write_sink,
)
from qaqfilter.grounds import grounds_of
from qaqfilter.known import known_numbers, known_stream, known_tokens, relabelled
from qaqfilter.manager import PluginManager
from qaqfilter.manifest import MANIFEST, Manifest, Order
from qaqfilter.one_tokenizer import check_one_tokenizer
from qaqfilter.overwriting import check_recipe, check_scores, say_finished
from qaqfilter.piping import refuse_pipe
from qaqfilter.quarantine import QUARANTINE
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer, RunReport
from qaqfilter.run_directory import RunDirectory
from qaqfilter.run_places import place_of
from qaqfilter.scores_file import SCORES, Scored
from qaqfilter.spooling import SPOOL
from qaqfilter.token_spool import TokenSpool
from qaqfilter.tokens_file import TOKENS
from qaqfilter.types import Ints
from qaqfilter.viewing import Pages, Passing, finished_run
from qaqfilter.wanting import Asked

_READ = (MANIFEST, SCORES, QUARANTINE, f"{SPOOL}*")
Unscored = Literal["refuse", "reject"]


@dataclass(frozen=True, slots=True)
class Selection:
    """How to select, beside the recipe.

    Attributes
    ----------
    scores: the folder or address of the run whose numbers are used; the recipe's own run
        directory if None.
    unscored: what to do about records that get to a step which has no numbers of them.
    write: whether to write anything; else only the report is made.
    score_by: the command that scores what is missing, for messages.
    """

    scores: str | Path | None = None
    unscored: Unscored = "refuse"
    write: bool = True
    score_by: str = "qaqfilter run"


def select_recipe(
    recipe: Recipe,
    manager: PluginManager,
    observer: Observer,
    selection: Selection,
    *,
    replace: bool = False,
) -> RunReport:
    """Work the chain over the numbers that a run left, and write its outputs.

    Raises NotScored where numbers are missing that the recipe needs, SourceError where the
    input is not the one that was scored, RunDirectoryError where a model's files are not those
    that scored, and other QaqfilterErrors as a run does.
    """
    refuse_pipe(recipe, "select")
    place = place_of(recipe.output.path)
    source = place if selection.scores is None else place_of(selection.scores)
    decided = partial(
        _decided, recipe, manager, observer, selection, where=source.where, target=place.where
    )
    read = (*_READ, TOKENS) if detailed(recipe) else _READ
    if not selection.write:
        with source.fetched(*read) as folder:
            return decided(folder=folder, scratch=None)[1]
    order = Order("select")
    pages, readable = Pages(recipe, manager), for_people(recipe, order)
    with RunDirectory(place, replace=replace, for_people=readable) as directory:
        there = directory.manifest
        if not replace and there is not None and there.order.command != "score":
            check_scores(there, place.where, recipe, selection.score_by)
            check_recipe(there, with_fields(order, limit=there.order.limit), recipe)
            say_finished(there, observer)
            return there.report
        with source.fetched(*read) as folder:
            job, report = decided(folder=folder, scratch=directory.desk)
            scored_by = job.manifest.scored_by
            finished = finished_run(job.chain, order.command, report, scored_by)
            _write(job, directory, partial(pages.passing, finished))
            with directory.writing():
                pages.write(finished, directory.partial)
            order = with_fields(order, limit=job.manifest.order.limit)
            grounds = grounds_of(recipe, job.manifest.grounds, selected=True)
            return publish(report, order, job.chain, directory, scored_by, grounds=grounds)


@dataclass(frozen=True, slots=True)
class _Job:
    """A chain that has decided, and the run that its numbers come from."""

    chain: Chain
    folder: Path
    manifest: Manifest
    scored: Scored
    tokens: Sequence[str]
    """The likelihoods whose tokens are in the folder and wanted."""


def _decided(
    recipe: Recipe,
    manager: PluginManager,
    observer: Observer,
    selection: Selection,
    *,
    where: Path | Address,
    target: Path | Address,
    folder: Path,
    scratch: Path | None,
) -> tuple[_Job, RunReport]:
    """`folder` has the files of the run at `where`; the outputs go to `target`.

    `scratch` is a folder for what is too large for memory, None for where temporary files go.
    """
    started = time.monotonic()
    manifest, scored = known_numbers(folder, where, recipe, selection.score_by)
    for phrase in check_scores(manifest, where, recipe, selection.score_by):
        observer.message(
            f"the numbers in {where} are of a plugin that has changed since: {phrase}; score anew "
            f"with: {selection.score_by}"
        )
    scored.columns.spool = TokenSpool(scratch)
    tokens = known_tokens(folder, manifest, scored, recipe)
    manager.run_started(recipe.resolved(), str(target))
    stream = known_stream(folder, manifest, recipe)
    tokenizers = {model.name: model.tokenizer for model in manifest.scored_by if model.tokenizer}
    check_one_tokenizer(recipe.steps, tokenizers)
    missing = _Missing(selection, scored, detailed(recipe))
    chain = Chain(recipe, manager, observer, stream, scored.columns, missing)
    chain.decide_all()
    if missing.found:
        observer.message(missing.sentence("rejected as not_scored are records"))
    seconds = time.monotonic() - started
    report = account(chain, target, seconds, manifest.report.duplicate_ids, ())
    return _Job(chain, folder, manifest, scored, tokens), report


@dataclass(slots=True)
class _Missing:
    """Stands where the models stand in a run: says what they were never asked."""

    selection: Selection
    scored: Scored
    detailed: frozenset[str]
    found: list[tuple[str, str, str, int, int]] = field(default_factory=list)

    def __call__(self, asked: Sequence[Asked], rows: Ints) -> None:
        for step, model, likelihoods in asked:
            view = step.view(model)
            for name in likelihoods:
                missing = self.scored.columns.unscored(f"{view}.{name}", rows)
                where = (len(missing), int(missing[0]))
                self.found.append((step.id, view, name, *where))
        if self.selection.unscored == "refuse":
            raise NotScored(
                self.sentence("there are no numbers for records")
                + "\n(or reject them as not_scored with --unscored reject)"
            )

    def sentence(self, what: str) -> str:
        """How many records, at which step, by which model; the first of them; and what to do."""
        lines = []
        for step, view, name, count, row in self.found:
            first = self.scored.label(row)
            what_of = f"{view}.{name}"
            what_of += ", token by token" if what_of in self.detailed else ""
            lines.append(f"  {count} records at step {step!r}: {what_of}; the first is {first}")
        return (
            f"{what} that no run has scored:\n"
            + "\n".join(lines)
            + f"\nscore them with: {self.selection.score_by}"
        )


def _write(job: _Job, directory: RunDirectory, passing: Passing) -> None:
    chain, observer = job.chain, job.chain.observer
    spooled = [name for name in job.manifest.files if name.startswith(SPOOL)]
    directory.take_over(job.folder, [QUARANTINE, *spooled])
    with directory.writing(), ExitStack() as closing:
        if chain.recipe.output.scores:
            observer.started("writing the numbers", chain.stream.records)
            file = scores_file(chain, directory)
            closing.callback(file.close)
            file.copy(job.scored.places())
            if job.tokens:
                tokens = tokens_file(chain, directory, job.tokens)
                closing.callback(tokens.close)
                tokens.take(job.folder / TOKENS)
            observer.advanced(chain.stream.records, 0)
            observer.finished()
        observer.started("writing the records", chain.stream.records)
        closing.callback(observer.finished)
        write_sink(chain, passing(relabelled(chain.stream, job.scored)), directory)
