"""From a chain that has decided to published outputs, with an account that adds up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace as with_fields
from pathlib import Path

from qaqfilter.addresses import Address
from qaqfilter.annotating import annotated
from qaqfilter.blame import Plugin
from qaqfilter.card import data_card
from qaqfilter.chain import Chain
from qaqfilter.errors import QaqfilterError
from qaqfilter.grounds import Grounds
from qaqfilter.input_parts import whole_digest
from qaqfilter.manifest import Order, write_manifest
from qaqfilter.options import STDOUT
from qaqfilter.recipe import Recipe
from qaqfilter.reports import ModelReport, RunReport
from qaqfilter.run_directory import CARD, RunDirectory
from qaqfilter.run_lock import now
from qaqfilter.scores_file import SCORES, ScoresFile
from qaqfilter.sinks import Sink
from qaqfilter.tokens_file import TOKENS, TokensFile
from qaqfilter.types import Record
from qaqfilter.viewing import page_file
from qaqfilter.writing import write_records


def has_card(recipe: Recipe, order: Order) -> bool:
    """Whether the order ends with a data card: only where there are kept records to describe."""
    return recipe.output.card and order.command != "score"


def for_people(recipe: Recipe, order: Order) -> dict[str, str]:
    """The files of the run that people read, each with the setting that leaves it out."""
    card = {CARD: "output.card=false"} if has_card(recipe, order) else {}
    return card | {page_file(name): "output.pages=[]" for name in recipe.output.pages}


def scores_file(chain: Chain, directory: RunDirectory) -> ScoresFile:
    """The scores.parquet of a run, to be filled."""
    digest = whole_digest(chain.stream.parts)
    return ScoresFile(directory.partial / SCORES, chain.fates, chain.columns, digest)


def tokens_file(chain: Chain, directory: RunDirectory, names: Sequence[str]) -> TokensFile:
    """The tokens.parquet of a run, to be filled."""
    digest = whole_digest(chain.stream.parts)
    return TokensFile(directory.partial / TOKENS, chain.columns, names, digest)


def write_sink(chain: Chain, records: Iterable[Record], directory: RunDirectory) -> None:
    """Send every record to the recipe's sink. Raises QaqfilterError where the count is off."""
    block = chain.recipe.sink
    with ExitStack() as closing:
        sink: Sink = block.make(directory.partial)
        closing.callback(_close, sink, block.plugin)
        written = write_records(
            records,
            chain.fates,
            sink,
            block.plugin,
            rejects=chain.recipe.output.rejects,
            progress=chain.observer.advanced,
            numbers=annotated(sink, chain.recipe, chain.columns),
        )
    expected = len(chain.alive), chain.stream.records - len(chain.alive)
    if written != expected:
        raise QaqfilterError(
            f"the account does not add up: {written[0]} kept and {written[1]} rejected were "
            f"written, where {expected[0]} and {expected[1]} should have been"
        )


def _close(sink: Sink, plugin: Plugin) -> None:
    with plugin.blamed("close()", passing=(OSError,)):
        sink.close()


def account(
    chain: Chain,
    where: Path | Address,
    seconds: float,
    duplicate_ids: int,
    models: Sequence[ModelReport],
) -> RunReport:
    """What a run came to. Raises QaqfilterError where it does not add up."""
    stream, kept = chain.stream, len(chain.alive)
    rejected = sum(sum(step.rejected.values()) for step in chain.step_reports)
    read = stream.records + stream.bad
    if kept + rejected + stream.bad != read:
        raise QaqfilterError(
            f"the account does not add up: {kept} kept + {rejected} rejected + {stream.bad} "
            f"quarantined, of {read} read"
        )
    return RunReport(
        name=chain.recipe.name,
        folder=where,
        read=read,
        kept=kept,
        rejected=rejected,
        quarantined=stream.bad,
        duplicate_ids=duplicate_ids,
        steps=tuple(chain.step_reports),
        models=tuple(models),
        seconds=seconds,
        files={},
    )


def publish(
    report: RunReport,
    order: Order,
    chain: Chain,
    directory: RunDirectory,
    scored_by: Sequence[ModelReport],
    *,
    grounds: Grounds,
) -> RunReport:
    """Write the data card and put everything in place; the report with its files."""
    if has_card(chain.recipe, order):
        names = sorted(
            f"{path.name}/data-*" if path.is_dir() else path.name
            for path in directory.partial.iterdir()
        )
        text = data_card(report, order, chain, scored_by, names)
        with directory.writing():
            (directory.partial / CARD).write_bytes(text.encode())
    files = {} if str(report.folder) == STDOUT else directory.files()
    report = with_fields(report, files=files)
    resolved = chain.recipe.resolved()
    manifest = write_manifest(
        report,
        order,
        resolved,
        parts=chain.stream.parts,
        scored_by=scored_by,
        grounds=grounds,
        finished=now(),
    )
    if isinstance(report.folder, Address):
        chain.observer.message(f"uploading {len(report.files)} files to {report.folder}")
    directory.publish(manifest)
    chain.manager.run_finished(report)
    return report
