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

from qaqfilter.cli.events import as_json, emit, forget_format, log_format_option
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
            return _with_log_format(command)
        manager = load_plugins()
        if cmd_name not in manager.names("command"):
            return None
        component = manager.require("command", cmd_name)
        made: click.Command = component.create(component.config())
        return _with_log_format(made)


def _with_log_format(command: click.Command) -> click.Command:
    """People write the option behind the verb as well as before it."""
    if all(parameter.name != "log_format" for parameter in command.params):
        command.params.append(log_format_option())
    return command


@click.command(
    cls=Verbs,
    params=[log_format_option()],
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
    _tell_error(f"error: {error}", error, error.exit_code)
    return error.exit_code


def _tell_error(text: str, error: BaseException, code: int) -> None:
    if as_json():
        text = text.removeprefix("error: ")  # the event says so
        emit("error", "error", type=type(error).__name__, text=text, exit_code=code)
    else:
        say(text, err=True)


def _run(arguments: list[str] | None) -> int:
    """The exit code, with errors told; BackendHung is raised, since the process has to end."""
    forget_format()
    try:
        result = cli.main(args=arguments, prog_name="qaqfilter", standalone_mode=False)
    except BackendHung:
        raise
    except QaqfilterError as error:
        return _told(error)
    except click.ClickException as error:
        text = StringIO()
        error.show(text)
        _tell_error(text.getvalue().rstrip("\n"), error, error.exit_code)
        return error.exit_code
    except click.Abort as error:
        _tell_error(
            "interrupted: the outputs are whole or as they were before; what was scored is in the "
            "score store, and the same command goes on from there",
            error,
            INTERRUPTED,
        )
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a mistake of ours or a plugin's
        mistake = "this is a mistake in qaqfilter or a plugin: please report it"
        _tell_error(f"{format_exc()}{mistake}", error, QaqfilterError.exit_code)
        return QaqfilterError.exit_code
    return result if isinstance(result, int) else 0
