"""`qaqfilter plugins`: what is installed, from whom, and what could not be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from qaqfilter.cli.options import json_option, plugin_option
from qaqfilter.cli.say import safe, say, say_json
from qaqfilter.errors import PluginError
from qaqfilter.manager import KINDS, PluginManager, load_plugins


@click.command(
    name="plugins",
    epilog="Example: qaqfilter plugins --plugin my_selector.py",
)
@plugin_option
@json_option
def command(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List plugins and the components they offer."""
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
    Console(markup=False).print(table)
    for broken in manager.broken:
        say(f"broken: {broken.plugin} ({broken.distribution}): {broken.cause}")
    for blocked in manager.blocked:
        say(f"blocked by QAQFILTER_BLOCK_PLUGINS: {blocked}")


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
