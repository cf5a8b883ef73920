"""`qaqfilter calibrate`: what a recipe catches of damage in the user's data, and at what cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qaqfilter import Component, Options, hookimpl

if TYPE_CHECKING:
    import click


def create(config: Options) -> click.Command:
    """Import the command when it is asked for."""
    from qaqfilter_calibrate.command import calibrate

    return calibrate


@hookimpl
def qaqfilter_commands() -> Iterator[Component[click.Command]]:
    """The verb `calibrate`."""
    yield Component(
        "calibrate", Options, create, "Damage a sample of the data, and see what is caught."
    )
