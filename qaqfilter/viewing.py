"""Pages of a run: what they see of a chain that has decided, and the records that they show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace as with_fields
from pathlib import Path

from qaqfilter.chain import Chain
from qaqfilter.deciding import strata_column
from qaqfilter.errors import PluginFailed
from qaqfilter.finished import Finished, FinishedStep, Part
from qaqfilter.manager import PluginManager
from qaqfilter.pages import MOST_TEXT, Page
from qaqfilter.recipe import Recipe, Step
from qaqfilter.reports import ModelReport, RunReport
from qaqfilter.selectors import Decides
from qaqfilter.types import Record

Passing = Callable[[Iterable[Record]], Iterator[Record]]
"""Lets a stream of all records pass."""


def finished_run(
    chain: Chain, command: str, report: RunReport, scored_by: Sequence[ModelReport]
) -> Finished:
    """The run of a chain that has decided. `scored_by` are the models behind its numbers."""
    return Finished(
        command=command,
        recipe=chain.recipe.resolved(),
        report=report,
        models=tuple(scored_by),
        steps=tuple(_step(step) for step in chain.recipe.steps),
        parts=tuple(Part(p.part, p.records, p.bad) for p in chain.stream.parts),
        columns=chain.columns,
        fates=chain.fates,
    )


def _step(step: Step) -> FinishedStep:
    keys, selector = step.keys, step.selector
    return FinishedStep(
        id=step.id,
        use=step.block.component.name,
        summary=step.block.component.summary,
        columns=tuple(f"{step.id}.{name}" for name in selector.columns),
        keep=keys.keep,
        own_rule=isinstance(selector, Decides),
        strata=keys.strata,
        strata_by=strata_column(step),
        group=keys.group,
        group_column=step.group_column,
        likelihoods=tuple(f"{step.view(model)}.{name}" for model, name in step.needs),
    )


class Pages:
    """The pages of a recipe. The records that they show are taken out of a stream that passes."""

    def __init__(self, recipe: Recipe, manager: PluginManager) -> None:
        self._manager = manager
        self._pages: dict[str, Page] = {}
        self._wanted: dict[str, frozenset[int]] = {}
        self._records: dict[int, Record] = {}
        for name in recipe.output.pages:
            component = manager.require("page", name)
            self._pages[name] = component.create(component.config())

    def passing(self, run: Finished, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, in stream order; those that a page wants are kept."""
        for name, page in self._pages.items():
            with self._blaming(name):
                self._wanted[name] = frozenset(int(row) for row in page.wanted(run))
        everybody = frozenset().union(*self._wanted.values())
        for row, record in enumerate(records):
            if row in everybody:
                self._records[row] = shortened(record)
            yield record

    def write(self, run: Finished, folder: Path) -> None:
        """Write them, after the stream has passed. Raises PluginFailed where a page fails."""
        for name, page in self._pages.items():
            shown = {row: self._records[row] for row in sorted(self._wanted[name])}
            with self._blaming(name):
                html = page.html(run, shown)
            (folder / page_file(name)).write_bytes(html)

    @contextmanager
    def _blaming(self, name: str) -> Iterator[None]:
        """What a page raises becomes an error that names it, and says how to do without."""
        try:
            yield
        except Exception as error:
            by = self._manager.offers["page", name].distribution
            raise PluginFailed(
                f"the page {name!r} ({by}) failed: {type(error).__name__}: {error}; a run without "
                "it: --set output.pages=[]"
            ) from error


def shortened(record: Record) -> Record:
    """What a page gets to see of a record, so that a few thousand fit into memory."""
    return with_fields(
        record, query=record.query[:MOST_TEXT], answer=record.answer[:MOST_TEXT], row=b""
    )


def page_file(name: str) -> str:
    """What the file of a page is called."""
    return f"{name}.html"
