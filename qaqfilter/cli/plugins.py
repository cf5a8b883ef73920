"""`qaqfilter plugins`: what is installed, from whom, and what could not be loaded.

`plugins new` is in plugins_new.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from qaqfilter.cli import plugins_new
from qaqfilter.cli.options import json_option, plugin_option
from qaqfilter.cli.say import plain_console, safe, say, say_json
from qaqfilter.errors import PluginError
from qaqfilter.manager import KINDS, PluginManager, load_plugins

SLOW = 1.0
"""Seconds from which on a plugin's loading is worth a line."""


@click.group(
    name="plugins",
    invoke_without_command=True,
    short_help="List plugins and what they offer, or begin one.",
    epilog="Example: qaqfilter plugins --plugin my_selector.py",
)
@plugin_option
@json_option
@click.pass_context
def command(context: click.Context, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List plugins and the components they offer; `new` begins one of your own."""
    if context.invoked_subcommand is not None:
        return
    manager = load_plugins(plugins)
    if as_json:
        say_json(_as_data(manager))
        return
    table = Table(title=None, box=None, pad_edge=False)
    for heading in ("kind", "name", "summary", "from", "ready"):
        table.add_column(heading, overflow="fold")
    for kind in KINDS:
        for name in manager.names(kind):
            offer = manager.offers[kind, name]
            row = (name, offer.component.summary, offer.distribution, _ready(manager, kind, name))
            table.add_row(kind, *map(safe, row))
    plain_console().print(table)
    for plugin, seconds in sorted(manager.seconds.items()):
        if seconds >= SLOW:
            say(
                f"slow: {plugin} ({manager.distributions.get(plugin, 'broken')}) took "
                f"{seconds:.1f} s to load, in every command: let it import heavy packages inside "
                "`create`"
            )
    for broken in manager.broken:
        say(f"broken: {broken.plugin} ({broken.distribution}): {broken.cause}")
    for blocked in manager.blocked:
        say(f"blocked by QAQFILTER_BLOCK_PLUGINS: {blocked}")


command.add_command(plugins_new.command)


def _as_data(manager: PluginManager) -> dict[str, Any]:
    offers = [(kind, name) for kind in KINDS for name in manager.names(kind)]
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
