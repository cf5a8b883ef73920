"""Whatever a plugin's code raises becomes an error that names the plugin, or its model.

    with culprit.blamed("scoring"):
        backend.logprobs(...)
    with plugin.blamed("score()", step.place):
        selector.score(...)

A plugin is other people's code: it may raise anything, or let a library raise it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qaqfilter.errors import (
    BackendError,
    ModelError,
    PluginFailed,
    PromptError,
    QaqfilterError,
)

_RENAMED = (BackendError, ModelError, PromptError)
_CONTRACTS = ("selector", "source", "sink", "executor")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A component as messages name it; `distribution` has its version, or is a file."""

    kind: str
    name: str
    distribution: str = ""

    def __str__(self) -> str:
        by = f" ({self.distribution})" if self.distribution else ""
        return f"{self.kind} {self.name!r}{by}"

    @contextmanager
    def blamed(
        self, doing: str, place: str = "", passing: tuple[type[Exception], ...] = ()
    ) -> Iterator[None]:
        """Raise PluginFailed, with the original as its cause, for what is no QaqfilterError.

        `place` stands in front of the message; what is `passing`, and Ctrl-C, pass untouched.
        """
        let_by: tuple[type[BaseException], ...]
        let_by = (QaqfilterError, KeyboardInterrupt, GeneratorExit, *passing)
        try:
            yield
        except let_by:
            raise
        except BaseException as error:
            raise self.failed(doing, error, place) from error

    def failed(self, doing: str, error: BaseException, place: str = "") -> PluginFailed:
        """The error for what it raised while `doing`; for loops, where a `with` costs too much."""
        mend = self._mend()
        if isinstance(error, ValueError) and "read-only" in str(error):
            mend = self._mend(
                "what a run hands out is the run's own: a plugin that changes it takes a copy"
            )
        return PluginFailed(f"{place}{self} failed in {doing}: {_told(error)}; {mend}")

    def broke(self, what: str, place: str = "") -> PluginFailed:
        """The error for what it gave and its hook does not allow."""
        return PluginFailed(f"{place}{self} {what}; {self._mend()}")

    def _mend(
        self, fault: str = "this is a fault of the plugin, not of the recipe: tell its author"
    ) -> str:
        if self.kind not in _CONTRACTS:
            return fault
        return f"{fault}, and check it with qaqfilter.testing.{self.kind.capitalize()}Contract"


NOBODY = Plugin("component", "?")
"""Stands where it is not known, as in tests, who offers a component."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """A model as messages name it: the recipe's name, the backend, and where it comes from.

    All but the name may be empty, where nothing more is known. `offered_by` is the distribution
    of the backend.
    """

    name: str
    use: str = ""
    location: str = ""
    offered_by: str = ""

    def __str__(self) -> str:
        known = ", ".join(part for part in (self.use, self.location) if part)
        return f"model {self.name!r} ({known})" if known else f"model {self.name!r}"

    @contextmanager
    def blamed(
        self, doing: str, kind: type[QaqfilterError] = BackendError, mend: str = ""
    ) -> Iterator[None]:
        """Raise `kind` for what is no QaqfilterError, with the original as its cause.

        BackendError, ModelError and PromptError keep their type and get the model's name in
        front; other QaqfilterErrors (about the input, the store) and Ctrl-C pass untouched.
        """
        try:
            yield
        except _RENAMED as error:
            error.args = (self.said(str(error)),)
            raise
        except (QaqfilterError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # sys.exit, and the panics of libraries in Rust, too
            raise kind(
                self.said(f"{doing} failed: {_told(error)}; {mend or self._mend(error)}")
            ) from error

    def said(self, message: str) -> str:
        """`message` with the model's name in front, unless it stands there."""
        if message.startswith(f"model {self.name!r}"):
            return message
        # Most messages of a backend name the place themselves, a path without its scheme.
        place = self.location.removeprefix("path:")
        named = bool(place) and place in message
        return f"model {self.name!r}: {message}" if named else f"{self}: {message}"

    def _mend(self, error: BaseException) -> str:
        if isinstance(error, MemoryError):
            return "take a smaller model, number type or batch, or a machine with more memory"
        by = f" ({self.offered_by})" if self.offered_by else ""
        return (
            f"this is a fault of the backend{by}, not of the recipe: tell its author, and check it "
            "with qaqfilter.testing.BackendContract"
        )


def _told(error: BaseException) -> str:
    """Type, message and place: there is no traceback on the command line."""
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' + text if text else ''}{place}"
