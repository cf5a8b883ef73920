"""A finished run, read back from its run directory: its numbers, its decisions, its records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qaqfilter.addresses import Address
from qaqfilter.chain import Chain
from qaqfilter.errors import RunDirectoryError, UsageError
from qaqfilter.finished import Finished
from qaqfilter.known import known_numbers, known_stream, known_tokens, relabelled
from qaqfilter.manager import PluginManager
from qaqfilter.manifest import MANIFEST, Manifest, read_manifest
from qaqfilter.pages import Page
from qaqfilter.progress import Silent
from qaqfilter.quarantine import QUARANTINE
from qaqfilter.recipe import Recipe, build_recipe
from qaqfilter.row_names import row_named
from qaqfilter.run_places import place_of
from qaqfilter.scores_file import SCORES, Scored
from qaqfilter.spooling import SPOOL
from qaqfilter.stream import RecordStream
from qaqfilter.tokens_file import TOKENS
from qaqfilter.types import Ints, Record
from qaqfilter.viewing import finished_run, shortened
from qaqfilter.wanting import Asked
from qaqfilter.yamlfile import YamlFile


@dataclass(frozen=True, slots=True)
class Reopened:
    """A finished run and its input.

    Attributes
    ----------
    where: its run directory, as messages name it.
    folder: a folder of this machine with its files.
    """

    where: Path | Address
    folder: Path
    manifest: Manifest
    recipe: Recipe
    run: Finished
    stream: RecordStream
    scored: Scored

    def all_records(self) -> Iterator[Record]:
        """Every good record in order, by the label that the run gave it.

        Raises SourceError where the input is not what the run read.
        """
        return relabelled(self.stream, self.scored)

    def records(self, rows: Iterable[int]) -> Mapping[int, Record]:
        """Some records, by row; the input is read to the end of the part of the last of them.

        Raises SourceError where what is read is not what the run read.
        """
        wanted = frozenset(int(row) for row in rows)
        found: dict[int, Record] = {}
        part = None
        for row, record in enumerate(self.all_records() if wanted else ()):
            # At its end a part is compared with what the run read.
            if len(found) == len(wanted) and record.origin.part != part:
                break
            if row in wanted:
                found[row], part = record, record.origin.part
        return found

    def row_of(self, label: str) -> int:
        """The row of the record that is called so, or whose id alone begins so, or that stands
        there (``file:line``, ``file#n``). Raises UsageError where none is, or not one alone.
        """
        row = row_named(label, self.scored.places(), self.all_records)
        if row is None:
            raise UsageError(
                f"no record of {self.where} is called {label!r}, has an id that begins so, or "
                "stands there: the ids are beside every rejected record, and all of them in the "
                f"column `id` of {SCORES}"
            )
        return row

    def page(self, page: Page) -> bytes:
        """A page of the run, as it is now."""
        records = self.records(page.wanted(self.run))
        return page.html(self.run, {row: shortened(record) for row, record in records.items()})


@contextmanager
def reopened(run: str | Path, manager: PluginManager) -> Iterator[Reopened]:
    """The finished run in a folder or at an address.

    Everything is decided again by the numbers in its scores.parquet: no model, no tokenizer, no
    text. Raises RunDirectoryError where there is no finished run with its numbers, or where the
    plugins that are installed now do not decide as it did.
    """
    place = place_of(run)
    with place.fetched(MANIFEST, SCORES, TOKENS, QUARANTINE, f"{SPOOL}*") as folder:
        manifest = read_manifest(folder)
        if manifest is None:
            raise RunDirectoryError(f"in {place.where} there is no finished run ({MANIFEST})")
        path = folder / MANIFEST
        written = YamlFile(str(path), manifest.recipe)
        recipe = build_recipe(written, path, manager, opens_models=False)
        _, scored = known_numbers(folder, place.where, recipe, "qaqfilter run RECIPE --replace")
        known_tokens(folder, manifest, scored, recipe)
        stream = known_stream(folder, manifest, recipe)
        chain = Chain(recipe, manager, Silent(), stream, scored.columns, _nobody, tells=False)
        chain.decide_all()
        _check_same(chain, manifest, place.where)
        finished = finished_run(chain, manifest.order.command, manifest.report, manifest.scored_by)
        yield Reopened(place.where, folder, manifest, recipe, finished, stream, scored)


def _nobody(asked: Sequence[Asked], rows: Ints) -> None:
    """Stands where the models stand in a run: what it did not score counts as not scored."""


def _check_same(chain: Chain, manifest: Manifest, where: Path | Address) -> None:
    """Whether the steps came to what they came to then."""
    for then, now in zip(manifest.report.steps, chain.step_reports, strict=True):
        if (then.read, then.kept, dict(then.rejected)) != (now.read, now.kept, now.rejected):
            raise RunDirectoryError(
                f"step {then.id!r} of the run in {where} kept {then.kept} of {then.read}, and "
                f"{now.kept} of {now.read} by its numbers and the plugins that are installed now: "
                "they are of another version; run again with --replace"
            )
