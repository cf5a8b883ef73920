"""A run from input to published outputs: survey the input, work the chain, write, account."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace as with_fields
from pathlib import Path

from qaqfilter.chain import Chain
from qaqfilter.errors import QaqfilterError, TooManyBadRecords
from qaqfilter.manager import PluginManager
from qaqfilter.protocols import Sink, Source
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer, RunReport
from qaqfilter.run_directory import QUARANTINE, RunDirectory, make_manifest
from qaqfilter.stream import RecordStream
from qaqfilter.writing import SCORES, ScoresFile, write_outputs


def run_recipe(
    recipe: Recipe,
    manager: PluginManager,
    observer: Observer,
    *,
    limit: int | None = None,
    replace: bool = False,
) -> RunReport:
    """Run a recipe; the report gives counts, costs and where the files are.

    `limit` reads only so many records; `replace` allows a finished run in the same folder to be
    overwritten. Raises a QaqfilterError; the run directory then holds what it held before (and,
    after too many bad records, the quarantine).
    """
    started = time.monotonic()
    folder = Path(recipe.output.path)
    quarantines = recipe.input.on_error != "skip"
    with RunDirectory(folder, replace=replace, quarantines=quarantines) as directory:
        manager.run_started(recipe.resolved(), str(folder))
        stream = _surveyed(recipe, directory, observer, limit)
        chain = Chain(recipe, manager, observer, stream)
        chain.decide_all()
        kept, rejected = _write(chain, directory)
        read = stream.records + stream.bad
        if kept + rejected + stream.bad != read or kept != len(chain.alive):
            raise QaqfilterError(
                f"the account does not add up: {kept} kept + {rejected} rejected + {stream.bad} "
                f"quarantined, of {read} read, where {len(chain.alive)} should be kept"
            )
        report = RunReport(
            name=recipe.name,
            folder=folder,
            read=read,
            kept=kept,
            rejected=rejected,
            quarantined=stream.bad,
            duplicate_ids=len(stream.duplicate_ids),
            steps=tuple(chain.step_reports),
            models=tuple(chain.model_reports),
            seconds=time.monotonic() - started,
            files={},
        )
        manifest = make_manifest(report, recipe.resolved(), limit, stream.digest, directory.files())
        report = with_fields(report, files=directory.publish(manifest))
    manager.run_finished(report)
    return report


def _surveyed(
    recipe: Recipe, directory: RunDirectory, observer: Observer, limit: int | None
) -> RecordStream:
    source: Source = recipe.source.component.create(recipe.source.options)
    stream = RecordStream(source, recipe.input, limit)
    observer.started("reading", None)
    try:
        stream.survey(directory.quarantine, observer.advanced)
    except TooManyBadRecords as error:
        if recipe.input.on_error == "skip":
            raise
        raise TooManyBadRecords(f"{error}\nsee {directory.keep_quarantine()}") from error
    finally:
        observer.finished()
    if stream.bad:
        where = "skipped" if recipe.input.on_error == "skip" else f"in {QUARANTINE}"
        observer.message(f"{stream.bad} bad records ({where}); the first is {stream.first_bad}")
    if stream.duplicate_ids:
        observer.message(
            f"{len(stream.duplicate_ids)} ids stand more than once; "
            "later ones are called id#2, id#3, ... in scores.parquet"
        )
    return stream


def _write(chain: Chain, directory: RunDirectory) -> tuple[int, int]:
    recipe, observer = chain.recipe, chain.observer
    observer.started("writing", chain.stream.records)
    with directory.writing(), ExitStack() as closing:
        closing.callback(observer.finished)
        sink: Sink = recipe.sink.component.create(recipe.sink.options, directory.partial)
        closing.callback(sink.close)
        scores = None
        if recipe.output.scores:
            path = directory.partial / SCORES
            scores = ScoresFile(path, chain.fates, chain.likelihoods, chain.columns)
            closing.callback(scores.close)
        return write_outputs(
            chain.stream,
            chain.fates,
            sink,
            scores,
            rejects=recipe.output.rejects,
            progress=observer.advanced,
        )
