"""The page `report`: which records it shows, and the parts that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from qaqfilter import Record, RunDirectoryError
from qaqfilter.finished import Finished
from qaqfilter_report.agreement import agreements
from qaqfilter_report.calibrated import calibration_of
from qaqfilter_report.cards import cards
from qaqfilter_report.choosing import Choice, choose
from qaqfilter_report.document import document
from qaqfilter_report.findings import Finding, of_run
from qaqfilter_report.heat import MOST, SOME
from qaqfilter_report.heat_page import shown_heatmap
from qaqfilter_report.heatmap import Heatmap
from qaqfilter_report.lengths import lengths
from qaqfilter_report.sampled import sampled
from qaqfilter_report.sections import sections

MOST_SOURCES = 50


class Source(NamedTuple):
    """A part of the input, and how many of its records are kept."""

    name: str
    records: int
    kept: int


class ReportPage:
    """A page of one run: it remembers which records it chose.

    `heatmaps` are those of some of its records, by row.
    """

    def __init__(self) -> None:
        self.heatmaps: dict[int, list[Heatmap]] = {}
        self._choice: Choice | None = None

    def first(self, run: Finished, count: int) -> list[int]:
        """So many of the records that are shown in full: at first those drawn at random."""
        choice = self._chosen(run)
        return [*dict.fromkeys([*choice.calm, *choice.full])][:count]

    def wanted(self, run: Finished) -> Iterable[int]:
        """The rows of the records that are shown, in full or as a line."""
        choice = self._chosen(run)
        return {*choice.full, *choice.sample.tolist()}

    def html(self, run: Finished, records: Mapping[int, Record]) -> bytes:
        """The whole page."""
        choice = self._chosen(run)
        found = list(sections(run, choice))
        lengths_ = list(lengths(run))
        findings = [*of_run(run), *(finding for _, some in found for finding in some)]
        try:
            calibration = calibration_of(run)
        except RunDirectoryError as error:  # the report is of the run, and can be without it
            calibration = None
            findings.append(Finding(str(error)))
        charts = [chart for section, _ in found for chart in section.charts] + lengths_
        charts += calibration.charts if calibration else ()
        return document(
            "report.html.j2",
            charts=[chart.data for chart in charts],
            run=run,
            report=run.report,
            findings=findings,
            sections=[section for section, _ in found],
            lengths=lengths_,
            agreements=list(agreements(run)),
            sources=list(_sources(run)),
            more_sources=max(0, len(run.parts) - MOST_SOURCES),
            calibration=calibration,
            cards=cards(run, records, choice.full),
            calm=choice.calm,
            heatmaps={
                row: [shown_heatmap(one, whole=False) for one in found]
                for row, found in self.heatmaps.items()
            },
            some=SOME,
            most=MOST,
            sample=sampled(run, choice.sample, records, charts),
        )

    def _chosen(self, run: Finished) -> Choice:
        if self._choice is None:
            self._choice = choose(run)
        return self._choice


def _sources(run: Finished) -> Iterator[Source]:
    kept = np.bincount(run.part_of()[run.kept], minlength=len(run.parts)).tolist()
    for part, of_it in list(zip(run.parts, kept, strict=True))[:MOST_SOURCES]:
        yield Source(part.name, part.records, of_it)
