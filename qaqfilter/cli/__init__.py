"""The command line: one module per verb, plugin verbs beside ours, and the exit codes.

0 ok, 1 failure (a mistake of ours too), 2 recipe or usage, 3 too many bad records, 130 interrupted
(Ctrl-C or SIGTERM).
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from traceback import format_exc

import click

from qaqfilter.cli.say import say
from qaqfilter.errors import BackendHung, PluginError, QaqfilterError
from qaqfilter.manager import load_plugins

VERBS = (
    "init",
    "validate",
    "plan",
    "preview",
    "run",
    "score",
    "select",
    "convert",
    "cache",
    "plugins",
    "schema",
    "completion",
)
INTERRUPTED = 130


class Verbs(click.Group):
    """Our verbs are the modules beside this file; others come through `qaqfilter_commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours first, then those of plugins."""
        theirs = load_plugins().names("command")
        for name in theirs:
            if name in VERBS:
                raise PluginError(f"a plugin offers the command {name!r}, which is qaqfilter's own")
        return [*VERBS, *theirs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb when it is asked for."""
        if cmd_name in VERBS:
            command: click.Command = import_module(f"qaqfilter.cli.{cmd_name}").command
            return command
        manager = load_plugins()
        if cmd_name not in manager.names("command"):
            return None
        component = manager.require("command", cmd_name)
        made: click.Command = component.create(component.config())
        return made


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("qaqfilter"), prog_name="qaqfilter")
def cli() -> None:
    """Decide which (query, answer) records are worth training on.

    A recipe (YAML) names the input, the models and a chain of filter steps; `qaqfilter run`
    does what it says.
    """


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command `qaqfilter`: runs a verb and exits with its code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as for Ctrl-C
    try:
        code = _run(arguments)
    except BackendHung as error:
        code = _told(error)
        sys.stdout.flush()
        sys.stderr.flush()
        # A thread is still in native code: Python, shutting down, could wait for it or crash.
        os._exit(code)
    sys.exit(code)


def run_cli(arguments: list[str] | None = None) -> int:
    """Run a verb; return the exit code. Errors go to standard error as plain sentences."""
    try:
        return _run(arguments)
    except BackendHung as error:
        return _told(error)


def _told(error: QaqfilterError) -> int:
    say(f"error: {error}", err=True)
    return error.exit_code


def _run(arguments: list[str] | None) -> int:
    """The exit code, with errors told; BackendHung is raised, since the process has to end."""
    try:
        result = cli.main(args=arguments, prog_name="qaqfilter", standalone_mode=False)
    except BackendHung:
        raise
    except QaqfilterError as error:
        return _told(error)
    except click.ClickException as error:
        text = StringIO()
        error.show(text)
        say(text.getvalue().rstrip("\n"), err=True)
        return error.exit_code
    except click.Abort:
        say(
            "interrupted: the outputs are whole or as they were before; what was scored is in the "
            "score store, and the same command goes on from there",
            err=True,
        )
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - a mistake of ours or a plugin's; its message may hold data
        say(format_exc().rstrip("\n"), err=True)
        say("this is a mistake in qaqfilter or a plugin: please report it", err=True)
        return QaqfilterError.exit_code
    return result if isinstance(result, int) else 0
