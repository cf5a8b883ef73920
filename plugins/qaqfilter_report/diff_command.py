"""The command line of `diff`."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from qaqfilter import SourceError, UsageError
from qaqfilter.cli.options import json_option, plugin_option
from qaqfilter.cli.progress import log_shown
from qaqfilter.cli.say import plain_console, say, say_json
from qaqfilter.manager import load_plugins
from qaqfilter.reopening import Reopened, reopened
from qaqfilter_report import diff_terminal
from qaqfilter_report.comparing import compare
from qaqfilter_report.diff_page import diff_page
from qaqfilter_report.examples import Shown, examples
from qaqfilter_report.matching import Match, labels, match
from qaqfilter_report.writing import write_file


@click.command(
    name="diff",
    short_help="Say what two runs keep and drop differently.",
    epilog="Example: qaqfilter diff out/ifd out/rmi --html diff.html",
)
@click.argument("first", metavar="RUN1")
@click.argument("second", metavar="RUN2")
@click.option(
    "-n",
    "--examples",
    "number",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="How many records are shown of each kind; for 0 the input is not read.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page instead, which needs nothing else.",
)
@click.option(
    "--ids",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the ids of all records that one run alone keeps as TSV: id, first, second.",
)
@plugin_option
@json_option
def diff(
    *,
    first: str,
    second: str,
    number: int,
    html: Path | None,
    ids: Path | None,
    plugins: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Say what the finished runs in RUN1 and RUN2, folders or addresses, keep differently.

    Records are matched by their place where both runs read the same input, else by id. No model
    is loaded.
    """
    manager = load_plugins(plugins)
    with log_shown(), reopened(first, manager) as one, reopened(second, manager) as other:
        pairs = match(one, other)
        found = compare(one, other, pairs)
        shown = _examples(one, other, pairs, number)
        if ids is not None:
            write_file(ids, _ids(one, other, pairs))
            say(f"written: {ids}", err=True)
    if html is not None:
        write_file(html, diff_page(found, shown))
        say(f"written: {html}", err=as_json)
    if as_json:
        examples_ = {"first": shown.first.as_data(), "second": shown.second.as_data()}
        say_json(found.as_data() | {"examples": examples_})
    elif html is None:
        console = plain_console()
        diff_terminal.show(console, found, shown)


def _examples(first: Reopened, second: Reopened, pairs: Match, number: int) -> Shown:
    try:
        return examples(first, second, pairs, number)
    except SourceError as error:
        raise SourceError(f"{error}\nthe numbers alone, without records: -n 0") from error


def _ids(first: Reopened, second: Reopened, pairs: Match) -> bytes:
    """A line for each record that one run alone keeps: the first run's id, and what each did.

    Records that only the second run has come last.
    """
    rejected, kept, absent = 0, 1, 2
    fates = [run.run.kept.astype(np.int8) for run in (first, second)]
    ours = np.full(first.run.records, absent, dtype=np.int8)
    ours[pairs.first] = fates[1][pairs.second]
    theirs = np.full(second.run.records, absent, dtype=np.int8)
    theirs[pairs.second] = fates[0][pairs.first]
    of_first = np.where(fates[0] == kept, ours != kept, ours == kept)
    of_second = (fates[1] == kept) & (theirs == absent)
    names = {rejected: "rejected", kept: "kept", absent: "absent"}
    lines = ["id\tfirst\tsecond\n"]
    for row, label in labels(first, of_first):
        lines.append(f"{_word(label)}\t{names[fates[0][row]]}\t{names[ours[row]]}\n")
    for row, label in labels(second, of_second):
        lines.append(f"{_word(label)}\t{names[theirs[row]]}\t{names[fates[1][row]]}\n")
    return "".join(lines).encode()


def _word(label: str) -> str:
    if "\t" in label or "\n" in label or "\r" in label:
        raise UsageError(f"--ids: the id {label!r} has a tab or a line end, which no TSV can hold")
    return label
