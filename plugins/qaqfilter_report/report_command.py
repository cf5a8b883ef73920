"""The command line of `report`."""

from __future__ import annotations

from pathlib import Path

import click

from qaqfilter.beside import put_beside
from qaqfilter.cli.options import plugin_option
from qaqfilter.cli.progress import log_shown
from qaqfilter.cli.say import say
from qaqfilter.manager import load_plugins
from qaqfilter.reopening import reopened
from qaqfilter.run_places import place_of
from qaqfilter_report.heatmap import heatmaps as of_records
from qaqfilter_report.heatmap import views_of
from qaqfilter_report.page import ReportPage
from qaqfilter_report.writing import write_file


@click.command(
    name="report",
    short_help="Write the report of a finished run anew.",
    epilog="Example: qaqfilter report out/my-run",
)
@click.argument("run")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; report.html in the run directory by default.",
)
@click.option(
    "--heatmaps",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Open the models, and show for so many records which words each side explains.",
)
@plugin_option
def report(*, run: str, output: Path | None, heatmaps: int, plugins: tuple[Path, ...]) -> None:
    """Write report.html of the finished run in RUN, a folder or an address.

    A run writes its report itself. This one has what came since, such as a calibration.
    """
    manager = load_plugins(plugins)
    with log_shown(), reopened(run, manager) as found:
        page = ReportPage()
        records = found.records(page.first(found.run, heatmaps))
        for view in views_of(found.recipe) if records else ():
            for row, one in of_records(found, manager, view, records):
                page.heatmaps.setdefault(row, []).append(one)
        written = found.page(page)
    if output is None:
        say(f"written: {put_beside(place_of(run), 'report.html', written)}")
    else:
        write_file(output, written)
        say(f"written: {output}")
