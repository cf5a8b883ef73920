"""A single-file plugin that keeps a journal of what a run computes, and can die on the spot.

It offers `counted_ngram` and `counted_transformers`: the real backends, with a line in the journal
for every batch. Every file that the run is about to make, rename or remove below its working
folder is a line too, and so a moment at which it may be told to die. What to do stands in the
environment: QAQFILTER_JOURNAL, a file that is appended to, and QAQFILTER_DIE, a pattern such as
`os.rename out/kept.jsonl`: before the first file event that fits, the process sends itself the
signal QAQFILTER_SIGNAL.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field

from qaqfilter import Backend, Component, Floats, Resources, TokenSequence, hookimpl
from qaqfilter_ngram.backend import NgramBackend, NgramOptions
from qaqfilter_transformers import TransformersOptions
from qaqfilter_transformers import create as create_transformers

MAKING = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Journal:
    """Lines of JSON, each in one write: a kill leaves whole lines."""

    def __init__(self, path: str, die: str | None, number: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._die = die
        self._signal = number
        self._below = f"{Path.cwd()}{os.sep}"

    def write(self, **what: Any) -> None:
        """Append a line."""
        line = {"pid": os.getpid(), "time": time.monotonic(), **what}
        os.write(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook. Called before the thing is done."""
        if event not in MAKING or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        to = arguments[1] if event == "os.rename" else arguments[0]
        path = os.path.abspath(os.fsdecode(to))  # noqa: PTH100 - Path would be a hook in a hook
        if not path.startswith(self._below):
            return
        path = path.removeprefix(self._below)
        self.write(event=event, path=path)
        if self._die is not None and fnmatch(f"{event} {path}", self._die):
            self._die = None
            self.write(signal=self._signal)
            os.kill(os.getpid(), self._signal)


_journal = Journal(
    os.environ["QAQFILTER_JOURNAL"],
    os.environ.get("QAQFILTER_DIE"),
    int(os.environ.get("QAQFILTER_SIGNAL", signal.SIGKILL)),
)
sys.addaudithook(_journal.watch)


class CountedNgramOptions(NgramOptions):
    """Those of `ngram`, and how slow it should be."""

    batch_tokens: int = Field(2048, ge=1, description="Most tokens in a batch.")
    pause: float = Field(0.0, ge=0, description="Seconds to sleep for every batch.")


def counted(backend: Backend, pause: float = 0.0, lean: float = 0.0) -> Backend:
    """The same object, whose `logprobs` keeps the journal.

    `lean` times the size of a batch is taken off each of its numbers: so they depend on their
    neighbours, as those of a backend that pads do.
    """
    compute = backend.logprobs

    def logprobs(sequences: Sequence[TokenSequence]) -> Sequence[tuple[Floats, ...]]:
        began = time.monotonic()
        found = compute(sequences)
        if lean:
            off = lean * sum(len(sequence.ids) for sequence in sequences)
            found = [tuple(array - off for array in arrays) for arrays in found]
        time.sleep(pause)
        digests = [_digest(sequence) for sequence in sequences]
        _journal.write(model=model, seconds=time.monotonic() - began, sequences=digests)
        return found

    model = blake2b(repr(sorted(backend.facts.items())).encode(), digest_size=4).hexdigest()
    vars(backend)["logprobs"] = logprobs
    return backend


def _digest(sequence: TokenSequence) -> str:
    text = f"{list(sequence.ids)} {sorted(sequence.spans)}"
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _ngram(config: CountedNgramOptions, resources: Resources) -> Backend:
    backend = NgramBackend(config, resources)
    vars(backend)["batch_tokens"] = config.batch_tokens
    return counted(backend, config.pause, lean=1e-9)


def _transformers(config: TransformersOptions, resources: Resources) -> Backend:
    return counted(create_transformers(config, resources))


@hookimpl
def qaqfilter_backends() -> Iterator[Component[Backend]]:
    """Offer both."""
    yield Component("counted_ngram", CountedNgramOptions, _ngram, "ngram, slowly, with a journal")
    yield Component("counted_transformers", TransformersOptions, _transformers, "with a journal")
