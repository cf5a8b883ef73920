"""`qaqfilter cache`: what the score store holds, whether it is sound, and making it smaller."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from qaqfilter import compaction, upkeep
from qaqfilter.cli.holdings import SHORT, as_data, print_holdings, print_table, table_of
from qaqfilter.cli.options import json_option
from qaqfilter.cli.progress import log_shown
from qaqfilter.cli.say import safe, say, say_json
from qaqfilter.errors import StoreError, UsageError
from qaqfilter.store_places import default_root
from qaqfilter.upkeep import Holding

_store_option = click.option(
    "--store",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the score store, as run.store in a recipe. Default: QAQFILTER_STORE, or "
    "`scores` in the user's cache.",
)
_names_argument = click.argument("fingerprints", nargs=-1, metavar="[FINGERPRINT]...")


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    return _store_option(_names_argument(function))


@click.group(
    name="cache",
    short_help="Look after the score store.",
    epilog="Example: qaqfilter cache info",
)
def command() -> None:
    """Look after the score store: what was scored is not scored again.

    A FINGERPRINT stands for a model with its settings; its first digits are enough, and without
    one all are meant.
    """


@command.command(epilog="Example: qaqfilter cache info")
@_common
@json_option
def info(store: Path | None, fingerprints: tuple[str, ...], as_json: bool) -> None:
    """List what is stored, model by model."""
    with _open(store, fingerprints) as (root, folders):
        held = [upkeep.look(folder) for folder in folders]
    if as_json:
        say_json({"store": root, "fingerprints": [as_data(holding) for holding in held]})
        return
    if held:
        print_holdings(held)
    for holding in held:
        for path in holding.unreadable:
            say(f"{path} cannot be read: `qaqfilter cache verify` says why and moves it aside")
    say(f"score store: {root}" if held else f"there is no score in {root}")


@command.command(epilog="Example: qaqfilter cache verify")
@_common
def verify(store: Path | None, fingerprints: tuple[str, ...]) -> None:
    """Read every score; move damaged files aside. Exit code 1 if there were any."""
    damaged = 0
    with _open(store, fingerprints) as (root, folders):
        for folder in folders:
            for message in upkeep.verify(folder):
                damaged += 1
                say(message)
        held = [upkeep.look(folder) for folder in folders]
    parts, scores = sum(one.parts for one in held), sum(one.scores for one in held)
    say(f"sound: {parts} parts with {scores} scores of {len(held)} fingerprints in {root}")
    if damaged:
        raise StoreError(f"files that were damaged or missing: {damaged}; they are named above")


@command.command(epilog="Example: qaqfilter cache clear --older-than 90")
@_common
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    help="Only what no run has used for so many days.",
)
@click.option("--damaged", is_flag=True, help="Only damaged files that were moved aside.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(
    store: Path | None,
    fingerprints: tuple[str, ...],
    older_than: float | None,
    damaged: bool,
    yes: bool,
) -> int:
    """Delete scores; they are computed again when a run needs them.

    Asks first. Files that are not the store's own are left.
    """
    with _open(store, fingerprints) as (root, folders):
        held = [upkeep.look(folder) for folder in folders]
        if older_than is not None:
            before = time.time() - older_than * 86400
            held = [holding for holding in held if holding.used <= before]
        if damaged:
            held = [holding for holding in held if holding.damaged]
        if not held:
            say(f"there is nothing to delete in {root}")
            return 0
        if not yes and not _agreed(held, root, damaged):
            say("nothing was deleted; --yes deletes without asking")
            return 1
        freed = 0
        for holding in held:
            size, left = upkeep.clear(holding.folder, damaged_only=damaged)
            freed += size
            for path in left:
                say(f"left, since it is not a file of the score store: {path}")
    say(f"freed {decimal(freed)}")
    return 0


@command.command(epilog="Example: qaqfilter cache compact")
@_common
def compact(store: Path | None, fingerprints: tuple[str, ...]) -> None:
    """Join small files into large ones; no number changes, and runs may go on meanwhile."""
    with _open(store, fingerprints) as (root, folders), log_shown():
        before = [upkeep.look(folder) for folder in folders]
        for folder in folders:
            compaction.compact(folder)
        after = [upkeep.look(folder) for folder in folders]
    if not before:
        say(f"there is no score in {root}")
        return
    table = table_of("fingerprint", "parts", "scores", "size")
    for old, new in zip(before, after, strict=True):
        table.add_row(
            old.folder.name[:SHORT],
            f"{old.parts} → {new.parts}",
            f"{old.scores} → {new.scores}",
            f"{decimal(old.size)} → {decimal(new.size)}",
        )
    print_table(table)


@contextmanager
def _open(store: Path | None, names: Sequence[str]) -> Iterator[tuple[Path, list[Path]]]:
    """The store's folder, and those of the fingerprints that are meant."""
    root = store or default_root()
    try:
        yield root, _chosen(root, names)
    except OSError as error:
        raise StoreError(
            f"the score store {root} cannot be used: {error}; make room or mend the permissions, "
            "or name another folder with --store"
        ) from error


def _chosen(root: Path, names: Sequence[str]) -> list[Path]:
    every = upkeep.fingerprints(root)
    chosen = []
    for name in names:
        found = [folder for folder in every if folder.name.startswith(name.lower())]
        if not name or not found:
            raise UsageError(
                f"{name!r}: no fingerprint in {root} begins so; `qaqfilter cache info` lists them"
            )
        if len(found) > 1:
            several = ", ".join(folder.name for folder in found)
            raise UsageError(f"{name!r} may be any of {several}; give more digits")
        chosen += found
    return list(dict.fromkeys(chosen)) if names else every


def _agreed(held: Sequence[Holding], root: Path, damaged: bool) -> bool:
    print_holdings(held)
    what = "the damaged files" if damaged else "all scores"
    models = "this model" if len(held) == 1 else f"these {len(held)} models"
    try:
        return click.confirm(safe(f"Delete {what} of {models} from {root}?"))
    except click.Abort:  # Ctrl-C, or nobody there to answer
        say("")
        return False
