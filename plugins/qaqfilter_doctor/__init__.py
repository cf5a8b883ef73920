"""`qaqfilter doctor`: what is installed here, and whether its numbers can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qaqfilter import Component, Options, hookimpl

if TYPE_CHECKING:
    import click


class DoctorOptions(Options):
    """The command has no options in the recipe."""


def create(config: DoctorOptions) -> click.Command:
    """Import the command when it is asked for."""
    from qaqfilter_doctor.command import doctor

    return doctor


@hookimpl
def qaqfilter_commands() -> Iterator[Component[click.Command]]:
    """The verb `doctor`."""
    yield Component("doctor", DoctorOptions, create, "Say what is installed and test its numbers.")
