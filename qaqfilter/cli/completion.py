"""`qaqfilter completion`: the script by which a shell completes verbs, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_QAQFILTER_COMPLETE"
"""What the script sets to ask the command for words; made of the command's name."""
SHELLS = ("bash", "zsh", "fish")


@click.command(
    name="completion",
    short_help="Print the script by which a shell completes words.",
    epilog='Example: eval "$(qaqfilter completion bash)"',
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that completes words on the command line.

    Put the example into ~/.bashrc, or ~/.zshrc with zsh. For fish: qaqfilter completion fish >
    ~/.config/fish/completions/qaqfilter.fish
    """
    from qaqfilter.cli import cli

    made = get_completion_class(shell)
    assert made is not None, "the shells of click itself"
    click.echo(made(cli, {}, "qaqfilter", VARIABLE).source())
