"""`qaqfilter compare-presets`: how far the published scripts are from the clean definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qaqfilter import Component, Options, hookimpl

if TYPE_CHECKING:
    import click


def create(config: Options) -> click.Command:
    """Import the command when it is asked for."""
    from qaqfilter_compare.command import compare_presets

    return compare_presets


@hookimpl
def qaqfilter_commands() -> Iterator[Component[click.Command]]:
    """The verb `compare-presets`."""
    yield Component(
        "compare-presets", Options, create, "Score data by scripts' presets and by clean steps."
    )
