"""`output.path: "-"`: the kept records go to standard output, and no run directory is left."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from qaqfilter.errors import RunDirectoryError, UsageError
from qaqfilter.manifest import MANIFEST, Manifest, Order
from qaqfilter.options import STDOUT
from qaqfilter.recipe import Recipe

_FOLDER = "name a folder with --set output.path=..."


def refuse_pipe(recipe: Recipe, command: str) -> None:
    """For commands that need a run directory. Raises UsageError where the recipe names none."""
    if recipe.output.path == STDOUT:
        raise UsageError(
            f"output.path is '-', standard output, and `qaqfilter {command}` works in a run "
            f"directory: {_FOLDER}"
        )


def for_pipe(recipe: Recipe, order: Order, stdout: BinaryIO | None) -> tuple[Recipe, Pipe]:
    """The recipe without what would be thrown away, and the place for its run.

    Raises UsageError where kept records cannot go to standard output.
    """
    if order.command != "run":
        refuse_pipe(recipe, order.command)
    if stdout is None:
        raise UsageError(
            "output.path is '-', standard output, which is taken or closed: leave out --json (from "
            f"Python, hand over `stdout`), or {_FOLDER}"
        )
    without = {"rejects": False, "scores": False, "card": False, "pages": ()}
    output = recipe.output.model_copy(update=without)
    keys = recipe.input
    if keys.on_error == "quarantine":  # there is nowhere to set them aside
        keys = keys.model_copy(update={"on_error": "skip"})
    return replace(recipe, output=output, input=keys), Pipe(stdout)


class Pipe:
    """A place for one run: of its files only the kept records come out."""

    at_once = False
    where = Path(STDOUT)

    def __init__(self, stdout: BinaryIO) -> None:
        self.desk = Path(tempfile.mkdtemp(prefix="qaqfilter-"))
        self._stdout = stdout
        self._sent: str | None = None

    def manifest(self) -> Manifest | None:
        """There never was a run before."""
        return None

    def names(self) -> set[str]:
        """Nor is anything in the way."""
        return set()

    def put(self, file: Path) -> None:
        """Copy the kept records; a reader that has had enough ends that without an error."""
        if file.name == MANIFEST and self._sent is None:
            raise RunDirectoryError(
                f"this output writes no kept.*, so nothing can go to standard output: {_FOLDER}"
            )
        if not file.name.startswith("kept"):
            return
        if file.is_dir():
            raise RunDirectoryError(
                f"this output writes a folder, which cannot go to standard output: {_FOLDER}"
            )
        if self._sent is not None:
            raise RunDirectoryError(
                f"standard output takes one file of kept records, and beside {self._sent} there is "
                f"{file.name}: {_FOLDER}"
            )
        self._sent = file.name
        try:
            with file.open("rb") as records:
                shutil.copyfileobj(records, self._stdout)
            self._stdout.flush()
        except BrokenPipeError:
            _swallow(self._stdout)

    def remove(self, name: str) -> None:
        """Nothing is there."""

    def leave(self) -> None:
        """Remove what the run wrote."""
        shutil.rmtree(self.desk, ignore_errors=True)


def _swallow(stream: BinaryIO) -> None:
    """Let what is still in the stream's buffer go nowhere: Python flushes it when it ends."""
    with suppress(io.UnsupportedOperation, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def standard_output() -> BinaryIO | None:
    """This process's standard output for bytes; None where there is none."""
    return cast("BinaryIO | None", getattr(sys.stdout, "buffer", None))
