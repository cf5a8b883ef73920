"""What a run did, for people: `report.html`, and the verbs that show a run, a record, two runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qaqfilter import Component, Options, hookimpl

if TYPE_CHECKING:
    import click

    from qaqfilter.pages import Page


def _page(config: Options) -> Page:
    """Imported when there is something to show."""
    from qaqfilter_report.page import ReportPage

    return ReportPage()


def _report(config: Options) -> click.Command:
    from qaqfilter_report.report_command import report

    return report


def _diff(config: Options) -> click.Command:
    from qaqfilter_report.diff_command import diff

    return diff


def _explain(config: Options) -> click.Command:
    from qaqfilter_report.explain_command import explain

    return explain


@hookimpl
def qaqfilter_pages() -> Iterator[Component[Page]]:
    """The page `report`."""
    yield Component("report", Options, _page, "The whole run: funnel, scores, records, warnings.")


@hookimpl
def qaqfilter_commands() -> Iterator[Component[click.Command]]:
    """The verbs `report`, `explain` and `diff`."""
    yield Component("report", Options, _report, "Write the report of a finished run anew.")
    yield Component("explain", Options, _explain, "Say why a record stands where it does.")
    yield Component("diff", Options, _diff, "Say what two runs keep and drop differently.")
