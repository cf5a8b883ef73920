"""The command line of `explain`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from qaqfilter import BackendHung, QaqfilterError, UsageError
from qaqfilter.cli.options import json_option, plugin_option
from qaqfilter.cli.progress import log_shown
from qaqfilter.cli.say import plain_console, say, say_json
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.reopening import Reopened, reopened
from qaqfilter_report.explain_page import explain_page
from qaqfilter_report.explain_terminal import show_account, show_heatmap, show_legend
from qaqfilter_report.explanation import Explanation, explanation
from qaqfilter_report.heatmap import Heatmap, Placeless, heatmaps, views_of
from qaqfilter_report.writing import write_file


@click.command(
    name="explain",
    short_help="Say why a record stands where it does.",
    epilog="Example: qaqfilter explain out/my-run json.loads --html why.html",
)
@click.argument("run")
@click.argument("record", metavar="ID")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Make the heatmap with this model of the recipe. May be given more than once; by default "
    "all whose likelihoods the steps use.",
)
@click.option("--no-model", is_flag=True, help="Load no model: the account alone.")
@click.option("--all", "whole", is_flag=True, help="Show all tokens of a long text.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page instead, which needs nothing else.",
)
@plugin_option
@json_option
def explain(
    *,
    run: str,
    record: str,
    models: tuple[str, ...],
    no_model: bool,
    whole: bool,
    html: Path | None,
    plugins: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Say why the record ID of the finished run in RUN was kept or not.

    Of an id the beginning is enough; or write where the record stands, file:line or file#n.

    Every number behind the decision of each step, the record's rank and its neighbours; and for
    each token of query and answer how much likelier the other side makes it.
    """
    if models and no_model:
        raise UsageError("--model and --no-model exclude each other: give one of them")
    manager = load_plugins(plugins)
    console = plain_console()
    with log_shown(), reopened(run, manager) as found:
        views = [] if no_model else list(views_of(found.recipe, models))
        known = explanation(found, record)
        on_terminal = html is None and not as_json
        if on_terminal:
            show_account(console, known)
        for one in _heatmaps(found, manager, known, views, asked_for=bool(models)):
            known.heatmaps.append(one)
            if on_terminal:
                show_heatmap(console, one, whole=whole)
    if on_terminal and known.heatmaps:
        show_legend(console)
    if html is not None:
        write_file(html, explain_page(known, whole=whole))
        if not as_json:
            say(f"written: {html}")
    if as_json:
        say_json(known.as_data())
    for note in known.notes:
        say(f"note: there is no heatmap: {note}", err=True)
    if known.errors:
        raise QaqfilterError("there is no heatmap: " + "\n".join(known.errors))


def _heatmaps(
    found: Reopened,
    manager: PluginManager,
    known: Explanation,
    views: list[str],
    *,
    asked_for: bool,
) -> Iterator[Heatmap]:
    """One for each view that can be asked here; why not goes to the errors.

    A backend that cannot tell places never could: where nobody has asked for its heatmap by name,
    that is a note.
    """
    try:
        records = found.records([known.row] if views else [])
        for view in views:
            try:
                yield from (one for _, one in heatmaps(found, manager, view, records))
            except BackendHung:
                raise
            except Placeless as error:
                (known.errors if asked_for else known.notes).append(str(error))
            except QaqfilterError as error:
                known.errors.append(str(error))
    except BackendHung:
        raise
    except QaqfilterError as error:  # the input is gone, or another
        known.errors.append(str(error))
