"""Whatever a model's code raises becomes an error that names the model.

    with culprit.blamed("scoring"):
        backend.logprobs(...)

A backend is other people's code: it may raise anything, or let a library raise it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qaqfilter.errors import BackendError, ModelError, PromptError, QaqfilterError

_RENAMED = (BackendError, ModelError, PromptError)


@dataclass(frozen=True, slots=True)
class Culprit:
    """A model as messages name it: the recipe's name, the backend, and where it comes from.

    All but the name may be empty, where nothing more is known.
    """

    name: str
    use: str = ""
    location: str = ""

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
                self.said(f"{doing} failed: {_told(error)}; {mend or _mend(error)}")
            ) from error

    def said(self, message: str) -> str:
        """`message` with the model's name in front, unless it stands there."""
        if message.startswith(f"model {self.name!r}"):
            return message
        # Most messages of a backend name the place themselves, a path without its scheme.
        place = self.location.removeprefix("path:")
        named = bool(place) and place in message
        return f"model {self.name!r}: {message}" if named else f"{self}: {message}"


def _told(error: BaseException) -> str:
    """Type, message and place: there is no traceback on the command line."""
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' + text if text else ''}{place}"


def _mend(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "take a smaller model, number type or batch, or a machine with more memory"
    return (
        "this is a fault of the backend, not of the recipe: tell its author, and check it with "
        "qaqfilter.testing.BackendContract"
    )
