"""`qaqfilter plugins`: what is installed, from whom, and what could not be loaded.

`plugins new` is in plugins_new.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from qaqfilter.cli import plugins_new
from qaqfilter.cli.options import json_option, plugin_option
from qaqfilter.cli.say import plain_console, safe, say, say_json
from qaqfilter.discovery import SLOW, told_slow
from qaqfilter.errors import PluginError
from qaqfilter.manager import KINDS, PluginManager, load_plugins

UNFOLDED = 100_000
"""Columns of a table that goes to a file or a pipe: no row is cut or folded."""


@click.group(
    name="plugins",
    invoke_without_command=True,
    short_help="List plugins and what they offer, or begin one.",
    epilog="Example: qaqfilter plugins --plugin my_selector.py",
)
@click.option("--kind", type=click.Choice(list(KINDS)), help="List components of this kind only.")
@plugin_option
@json_option
@click.pass_context
def command(
    context: click.Context, kind: str | None, plugins: tuple[Path, ...], as_json: bool
) -> None:
    """List plugins and the components they offer; `new` begins one of your own."""
    if context.invoked_subcommand is not None:
        return
    manager = load_plugins(plugins)
    kinds = [kind] if kind else list(KINDS)
    if as_json:
        say_json(_as_data(manager, kinds))
        return
    table = Table(title=None, box=None, pad_edge=False)
    for heading in ("kind", "name", "summary", "from", "ready"):
        table.add_column(heading, overflow="fold")
    for of in kinds:
        for name in manager.names(of):
            offer = manager.offers[of, name]
            row = (name, offer.component.summary, offer.distribution, _ready(manager, of, name))
            table.add_row(of, *map(safe, row))
    console = plain_console()
    if not console.is_terminal:
        console.width = UNFOLDED
    console.print(table)
    for plugin, seconds in sorted(manager.seconds.items()):
        if seconds >= SLOW:
            say(told_slow(plugin, manager.distributions.get(plugin, "broken"), seconds))
    for broken in manager.broken:
        say(f"broken: {broken.plugin} ({broken.distribution}): {broken.cause}")
    for blocked in manager.blocked:
        say(f"blocked by QAQFILTER_BLOCK_PLUGINS: {blocked}")


command.add_command(plugins_new.command)


def _as_data(manager: PluginManager, kinds: Sequence[str]) -> dict[str, Any]:
    offers = [(kind, name) for kind in kinds for name in manager.names(kind)]
    return {
        "components": [
            {
                "kind": kind,
                "name": name,
                "summary": manager.offers[kind, name].component.summary,
                "from": manager.offers[kind, name].distribution,
                "ready": _ready(manager, kind, name) == "yes",
            }
            for kind, name in offers
        ],
        "seconds": {plugin: round(taken, 3) for plugin, taken in manager.seconds.items()},
        "broken": [
            {"plugin": broken.plugin, "from": broken.distribution, "cause": str(broken.cause)}
            for broken in manager.broken
        ],
        "blocked": list(manager.blocked),
    }


def _ready(manager: PluginManager, kind: str, name: str) -> str:
    try:
        needs = manager.require(kind, name).needs
    except PluginError:
        needs = manager.component(kind, name).needs
        return f"pip install '{needs.pip}'" if needs else "no"
    return "yes"
