"""A run from input to published outputs: survey the input, work the chain, write, account."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace as with_fields
from functools import partial
from typing import BinaryIO

from qaqfilter.annotating import annotatable
from qaqfilter.asking import Models
from qaqfilter.chain import Chain
from qaqfilter.columns import Columns
from qaqfilter.details import detailed
from qaqfilter.errors import TooManyBadRecords
from qaqfilter.finishing import (
    account,
    for_people,
    publish,
    scores_file,
    tokens_file,
    write_sink,
)
from qaqfilter.grounds import Grounds, grounds_of
from qaqfilter.input_parts import differences
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
        stream = _surveyed(recipe, directory, observer, order.limit)
        if not replace and directory.manifest is not None:
            return finished_already(directory.manifest, stream.parts, observer)
        _tell_changes(stream, directory, observer)
        manager.run_started(recipe.resolved(), str(place.where))
        earlier = directory.manifest.grounds if directory.manifest else None
        # Before anybody reads the files: one that changes while it is read must not pass for new.
        leaves = recipe.output.path != STDOUT
        grounds = grounds_of(recipe, earlier) if leaves else Grounds((), {})
        spool = TokenSpool(directory.desk)
        columns = Columns(stream.records, units=stream.units, spool=spool)
        noting = partial(directory.note_input, stream.parts)
        models = Models(recipe, manager, observer, stream, columns, noting)
        chain = Chain(recipe, manager, observer, stream, columns, models)
        if order.everything:
            chain.score_everything()
        chain.decide_all()
        seconds = time.monotonic() - started
        report = account(chain, place.where, seconds, len(stream.duplicate_ids), models.reports)
        finished = finished_run(chain, order.command, report, models.reports)
        _write(chain, directory, order, partial(pages.passing, finished))
        report = with_fields(report, seconds=time.monotonic() - started)
        with directory.writing():
            pages.write(with_fields(finished, report=report), directory.partial)
        return publish(report, order, chain, directory, models.reports, grounds=grounds)


def _surveyed(
    recipe: Recipe, directory: RunDirectory, observer: Observer, limit: int | None
) -> RecordStream:
    source: Source = recipe.source.make()
    if isinstance(source, Spools):
        with directory.writing():
            source.spool(directory.partial)
    spool = directory.partial if isinstance(source, Spools) else None
    stream = RecordStream(
        annotatable(source, recipe),
        recipe.input,
        limit,
        plugin=recipe.source.plugin,
        spool=spool,
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
