"""Every error that qaqfilter raises on purpose.

QaqfilterError                  exit code 1
├── UsageError                  exit code 2: the call or the recipe is off; nothing was run
│   ├── RecipeError             one or more problems, each with file:line, key path and fix
│   └── PluginError             a plugin clashes, is broken, is misspelt, or lacks its extra
│       └── PluginFailed        a plugin's code failed in a run (exit code 1), or broke its contract
├── TooManyBadRecords           exit code 3: the input holds more bad records than allowed
├── SourceError                 the input cannot be read, or changed between two reads
├── ModelError                  a model cannot be found, loaded or verified
├── PromptError                 a prompt or chat template cannot carry the data untouched
│   └── PromptRefused           it refuses this record: its order of turns, or its system text
├── BackendError                a backend failed, or broke its contract (wrong count, above 0)
│   └── BackendHung             a backend took longer than the recipe allows
├── KillsWorkers                records kill whoever scores them; a run sets them aside
├── StoreError                  scores cannot be stored, or were found damaged
├── NotScored                   a selection needs numbers that no run has computed
└── RunDirectoryError           outputs cannot be written where the recipe says

The messages say where it happened, what is wrong, and how to mend it.
"""

from __future__ import annotations

from collections.abc import Mapping


class QaqfilterError(Exception):
    """The root: catch this to catch everything that qaqfilter raises on purpose."""

    exit_code = 1


class UsageError(QaqfilterError):
    """The call or the recipe is wrong; nothing was run."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe with one or more problems; `problems` holds one message for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class PluginError(UsageError):
    """A plugin clashes with another, is broken, or lacks what it needs."""


class PluginFailed(PluginError):  # noqa: N818 - reads as the sentence it is
    """A plugin's own code raised something, or gave what its hook does not allow."""

    exit_code = 1


class TooManyBadRecords(QaqfilterError):  # noqa: N818 - reads as the sentence it is
    """More of the input is unreadable than `input.max_errors` allows."""

    exit_code = 3


class SourceError(QaqfilterError):
    """The input cannot be read, or is not what it was when the run began."""


class ModelError(QaqfilterError):
    """A model cannot be found, loaded or verified."""


class PromptError(QaqfilterError):
    """A prompt cannot carry the data untouched, or the model lacks a chat template."""


class PromptRefused(PromptError):  # noqa: N818 - reads as the sentence it is
    """A template refuses a record's order of turns or its system text; others may fare better."""


class BackendError(QaqfilterError):
    """A backend failed or broke its contract; its numbers must not be used."""


class BackendHung(BackendError):  # noqa: N818 - reads as the sentence it is
    """A backend took longer for a window than `run.window_seconds`, and is still at it.

    It was not closed, since a thread of this process still runs in it. Python may wait for such a
    thread when it ends: leave with ``os._exit`` as the command line does.
    """


class KillsWorkers(QaqfilterError):  # noqa: N818 - reads as the sentence it is
    """Records that kill the process which scores them: why, by the digest of their row.

    A run sets them aside and goes on without them.
    """

    def __init__(self, message: str, records: Mapping[str, str]) -> None:
        self.records = dict(records)
        super().__init__(message)


class StoreError(QaqfilterError):
    """The score store cannot be used, or `qaqfilter cache verify` found damage."""


class NotScored(QaqfilterError):  # noqa: N818 - reads as the sentence it is
    """A selection needs numbers that no run has computed."""


class RunDirectoryError(QaqfilterError):
    """The run's outputs cannot be written where the recipe says."""
