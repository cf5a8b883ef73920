"""`qaqfilter plugins new`: a plugin to begin from, complete and tested."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from qaqfilter.cli.say import say
from qaqfilter.manager import load_plugins
from qaqfilter.scaffold.names import HOOKS, Names, checked_names
from qaqfilter.scaffold.project import to_replace, write_module, write_project


@click.command(
    name="new",
    short_help="Begin a plugin of your own.",
    epilog="Example: qaqfilter plugins new mean_line --kind selector",
)
@click.argument("name")
@click.option("--kind", type=click.Choice(list(HOOKS)), required=True, help="What it is to be.")
@click.option(
    "--single-file",
    is_flag=True,
    help="Write one module, to be used with --plugin, in place of a project.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where to write. Default: qaqfilter-NAME for a project, here for a single file.",
)
def command(name: str, kind: str, single_file: bool, folder: Path | None) -> None:
    """Write a plugin that works, to be made yours.

    NAME is what recipes will call it. A project has the module, its tests, a recipe with data and a
    README; it can be installed, tested and published as it is. Nothing is overwritten.
    """
    names = checked_names(name, kind, load_plugins())
    if single_file:
        path = (folder or Path()) / f"{name}.py"
        write_module(names, path)
        _tell("wrote", [str(path)])
        _tell("go on with", [f"qaqfilter plugins --plugin {shlex.quote(str(path))}"])
        return
    folder = folder or Path(names.distribution)
    written = write_project(names, folder)
    go_in = f"cd {shlex.quote(str(folder))}"
    _tell("wrote", [str(folder / place) for place in written])
    _tell("go on with", [go_in, "pip install -e '.[test]'", "pytest", _trial(names)])
    examples = [f"{place}: {what}" for place, what in to_replace(names).items()]
    _tell("it is an example: put your own in place of", examples)


def _tell(title: str, lines: list[str]) -> None:
    say("\n  ".join([title, *lines]))


def _trial(names: Names) -> str:
    if names.kind == "damage":
        return f"qaqfilter calibrate recipe.yaml -n 8 --damage {names.name}"
    return "qaqfilter run recipe.yaml"
