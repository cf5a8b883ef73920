"""A user's code and a plugin author's, as type checkers see it. Never run: tests/test_stability.py.

`assert_type` pins what the public functions return; the classes have to fit the protocols.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import assert_type

import numpy as np

import qaqfilter
from qaqfilter import (
    BadRecord,
    Bools,
    Component,
    Damage,
    Finished,
    Floats,
    ModelName,
    Need,
    Options,
    Origin,
    Page,
    RecipePath,
    Record,
    Rejection,
    RunReport,
    Selector,
    Sink,
    Source,
    Table,
    hookimpl,
)


def of_users(recipe: Path) -> None:
    """Runs, from Python."""
    loaded = qaqfilter.load_recipe(recipe, overrides=["run.seed=1"])
    assert_type(loaded, qaqfilter.Recipe)
    report = qaqfilter.run(loaded, limit=10, replace=True)
    assert_type(report, RunReport)
    assert_type(report.kept, int)
    assert_type(qaqfilter.score_recipe(recipe, everything=True), RunReport)
    assert_type(qaqfilter.select_recipe(recipe, unscored="reject", write=False), RunReport)
    for step in report.steps:
        assert_type(step.rejected, Mapping[str, int])
    try:
        qaqfilter.run(str(recipe))
    except qaqfilter.NotScored as error:
        assert_type(error.exit_code, int)


class SurpriseOptions(Options):
    """Options of a selector."""

    model: ModelName


class Surprise:
    """A selector over likelihoods."""

    columns = ("surprise",)

    def __init__(self, config: SurpriseOptions) -> None:
        self.model = config.model
        self.needs = (Need(config.model, "answer_given_query"),)

    def score(self, table: Table) -> Mapping[str, Floats]:
        """One column."""
        nll = table.nll(self.model, "answer_given_query")
        assert_type(nll, Floats)
        return {"surprise": nll}


class Words:
    """A selector over text."""

    columns = ("words",)

    def __init__(self, config: Options) -> None: ...

    def measure(self, record: Record) -> Mapping[str, float]:
        """One number."""
        return {"words": float(len(record.query.split()))}


class LinesOptions(Options):
    """Options of a source."""

    path: RecipePath


class Lines:
    """A source."""

    def __init__(self, config: LinesOptions) -> None:
        self.path = Path(config.path)

    def read(self) -> Iterator[Record | BadRecord]:
        """One record."""
        yield Record("1", "query", "answer", b"row", Origin(self.path.name, 0, 1))


class Queries:
    """A sink."""

    def __init__(self, config: Options, folder: Path) -> None:
        self.file = (folder / "kept.txt").open("w", encoding="utf-8")

    def keep(self, record: Record) -> None:
        """A line."""
        self.file.write(record.query)

    def reject(self, record: Record, rejection: Rejection) -> None:
        """Nothing."""

    def close(self) -> None:
        """The file."""
        self.file.close()


class Shouted:
    """A damage."""

    def damage(
        self, record: Record, others: object, rng: np.random.Generator
    ) -> tuple[str, str] | None:
        """Capitals."""
        return record.query, record.answer.upper()


class Count:
    """A page."""

    def wanted(self, run: Finished) -> Iterable[int]:
        """No text."""
        assert_type(run.kept, Bools)
        return []

    def html(self, run: Finished, records: Mapping[int, Record]) -> bytes:
        """A number."""
        return f"{run.kept.sum()}".encode()


@hookimpl
def qaqfilter_selectors() -> Iterator[Component[Selector]]:
    """Two."""
    yield Component("surprise", SurpriseOptions, Surprise, "nll(A|Q)")
    yield Component("words", Options, Words, "words of the query")


@hookimpl
def qaqfilter_sources() -> Iterator[Component[Source]]:
    """One."""
    yield Component("lines", LinesOptions, Lines, "one record")


@hookimpl
def qaqfilter_sinks() -> Iterator[Component[Sink]]:
    """One."""
    yield Component("queries", Options, Queries, "kept queries")


@hookimpl
def qaqfilter_damages() -> Iterator[Component[Damage]]:
    """One."""
    yield Component("shouted", Options, lambda config: Shouted(), "capitals")


@hookimpl
def qaqfilter_pages() -> Iterator[Component[Page]]:
    """One."""
    yield Component("count", Options, lambda config: Count(), "how many are kept")
