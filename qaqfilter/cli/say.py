"""The one way from a message to the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from qaqfilter.cli import events
from qaqfilter.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


def safe(text: object) -> str:
    """A message as it may be printed: line ends and tabs stay, whatever else commands is escaped.

    Ids, file names and field names come from the data, and are in messages of every kind.
    """
    return printable(str(text), keep="\n\t")


def say(text: object, *, err: bool = False) -> None:
    """Print to standard output, or to standard error: there as an event where events are asked."""
    if err and events.as_json():
        events.emit("message", text=str(text))
        return
    click.echo(safe(text), err=err)


def plain_console(*, err: bool = False) -> Console:
    """Where tables are printed: text stays as it is, also ``[bold]`` and ``:smile:`` in an id."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, stderr=err)


def say_json(data: Any) -> None:
    """Print one JSON document to standard output, in ASCII: nothing in it commands a terminal."""
    click.echo(json.dumps(data, indent=2, default=str))
