"""A run from input to published outputs: survey the input, work the chain, write, account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from functools import partial
from typing import BinaryIO

from qaqfilter.annotating import annotatable
from qaqfilter.asking import Models
from qaqfilter.chain import Chain
from qaqfilter.columns import Columns
from qaqfilter.details import detailed
from qaqfilter.errors import KillsWorkers, TooManyBadRecords
from qaqfilter.executing import executor_of
from qaqfilter.execution import Executor
from qaqfilter.finishing import (
    account,
    for_people,
    publish,
    scores_file,
    tokens_file,
    write_sink,
)
from qaqfilter.grounds import Grounds, grounds_of
from qaqfilter.input_parts import all_set_aside, differences
from qaqfilter.manager import PluginManager
from qaqfilter.manifest import Order
from qaqfilter.options import STDOUT
from qaqfilter.overwriting import check_recipe, finished_already
from qaqfilter.piping import for_pipe
from qaqfilter.protocols import Source
from qaqfilter.quarantine import QUARANTINE
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer, RunReport
from qaqfilter.run_directory import RunDirectory
from qaqfilter.run_places import Place, place_of
from qaqfilter.spooling import Spools
from qaqfilter.stream import RecordStream
from qaqfilter.token_spool import TokenSpool
from qaqfilter.viewing import Pages, Passing, finished_run
from qaqfilter.writing import labelled


def run_recipe(
    recipe: Recipe,
    manager: PluginManager,
    observer: Observer,
    order: Order = Order("run"),  # noqa: B008 - frozen
    *,
    replace: bool = False,
    stdout: BinaryIO | None = None,
) -> RunReport:
    """Run a recipe, or only score by it; the report gives counts, costs and where the files are.

    A finished run of the same recipe over the same input is not done again: its report comes
    back. `replace` allows any finished run in the folder to be overwritten. `stdout` gets the kept
    records where `output.path` is ``-``.
    Raises a QaqfilterError; the run directory then holds what it held before (and, after too
    many bad records, the quarantine).
    """
    started = time.monotonic()
    place: Place
    if recipe.output.path == STDOUT:
        recipe, place = for_pipe(recipe, order, stdout)
    else:
        place = place_of(recipe.output.path)
    pages = Pages(recipe, manager)
    with RunDirectory(place, replace=replace, for_people=for_people(recipe, order)) as directory:
        if not replace:
            check_recipe(directory.manifest, order, recipe)
        job = _Job(recipe, manager, observer, order, directory)
        aside = {} if replace else all_set_aside(directory.input_before or ())
        if not replace and directory.manifest is not None:
            return finished_already(directory.manifest, job.surveyed(aside).parts, observer)
        # Before anybody reads the files: one that changes while it is read must not pass for new.
        earlier = directory.manifest.grounds if directory.manifest else None
        leaves = recipe.output.path != STDOUT
        grounds = grounds_of(recipe, earlier) if leaves else Grounds((), {})
        with executor_of(recipe, manager, observer.message) as executor:
            stream = job.surveyed(aside)
            _tell_changes(stream, directory, observer)
            manager.run_started(recipe.resolved(), str(place.where))
            chain, models = job.decided(stream, executor)
            stream = chain.stream
        seconds = time.monotonic() - started
        report = account(chain, place.where, seconds, len(stream.duplicate_ids), models.reports)
        finished = finished_run(chain, order.command, report, models.reports)
        _write(chain, directory, order, partial(pages.passing, finished))
        report = with_fields(report, seconds=time.monotonic() - started)
        with directory.writing():
            pages.write(with_fields(finished, report=report), directory.partial)
        return publish(report, order, chain, directory, models.reports, grounds=grounds)


@dataclass(slots=True)
class _Job:
    """A run up to its decisions."""

    recipe: Recipe
    manager: PluginManager
    observer: Observer
    order: Order
    directory: RunDirectory
    _source: Source = field(init=False)

    def __post_init__(self) -> None:
        self._source = self.recipe.source.make()
        if isinstance(self._source, Spools):
            with self.directory.writing():
                self._source.spool(self.directory.partial)

    def surveyed(self, set_aside: Mapping[str, str]) -> RecordStream:
        """The first read of the input."""
        recipe, directory, observer = self.recipe, self.directory, self.observer
        stream = RecordStream(
            annotatable(self._source, recipe),
            recipe.input,
            self.order.limit,
            plugin=recipe.source.plugin,
            spool=directory.partial if isinstance(self._source, Spools) else None,
            set_aside=set_aside,
        )
        skips = recipe.input.on_error == "skip"
        if not skips:
            directory.open_quarantine()
        observer.started("reading", None)
        try:
            stream.survey(directory.quarantine, observer.advanced)
        except TooManyBadRecords as error:
            if skips:
                raise
            raise TooManyBadRecords(f"{error}\nsee {directory.keep_quarantine()}") from error
        finally:
            observer.finished()
        if stream.bad:
            where = "skipped" if skips else f"in {QUARANTINE}"
            observer.message(f"{stream.bad} bad records ({where}); the first is {stream.first_bad}")
        if stream.duplicate_ids:
            observer.message(
                f"{len(stream.duplicate_ids)} ids stand more than once; "
                "later ones are called id#2, id#3, ... in scores.parquet"
            )
        return stream

    def decided(self, stream: RecordStream, executor: Executor) -> tuple[Chain, Models]:
        """The chain, worked through; anew without those records that kill who scores them."""
        while True:
            columns = Columns(
                stream.records, units=stream.units, spool=TokenSpool(self.directory.desk)
            )
            noting = partial(self.directory.note_input, stream.parts)
            models = Models(
                self.recipe,
                self.manager,
                self.observer,
                stream,
                columns,
                noting,
                executor=executor,
            )
            chain = Chain(self.recipe, self.manager, self.observer, stream, columns, models)
            try:
                if self.order.everything:
                    chain.score_everything()
                chain.decide_all()
            except KillsWorkers as error:
                known = "scored again" if self.recipe.run.store is False else "in the score store"
                self.observer.message(
                    f"{error}; they are set aside, and the chain begins anew without them: what "
                    f"was scored is {known}"
                )
                stream = self.surveyed(dict(stream.set_aside) | error.records)
            else:
                return chain, models


def _tell_changes(stream: RecordStream, directory: RunDirectory, observer: Observer) -> None:
    """What is scored anew, though an earlier run here scored it."""
    if directory.input_before is not None:
        changed = list(differences(directory.input_before, stream.parts))
        if changed:
            observer.message(
                "the input is not what the latest run here read; what is the same in it is not "
                "scored again:\n" + "\n".join(f"  {phrase}" for phrase in changed)
            )


def _write(chain: Chain, directory: RunDirectory, order: Order, passing: Passing) -> None:
    chain.observer.started("writing", chain.stream.records)
    with directory.writing(), ExitStack() as closing:
        closing.callback(chain.observer.finished)
        records = passing(labelled(chain.stream))
        if chain.recipe.output.scores or order.command == "score":
            scores = scores_file(chain, directory)
            closing.callback(scores.close)
            records = scores.noting(records)
            if detailed(chain.recipe):
                tokens = tokens_file(chain, directory, sorted(chain.columns.starts))
                closing.callback(tokens.close)
                records = tokens.noting(records)
        if order.command == "score":
            for _ in records:
                chain.observer.advanced(1, 0)
        else:
            write_sink(chain, records, directory)
