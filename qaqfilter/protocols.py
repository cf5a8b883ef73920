"""What a plugin's objects must be able to do. Implement the protocol; inherit nothing.

Source ─▶ Backend + PromptFormat ─▶ Selector ─▶ Sink
(selectors: selectors.py; sinks: sinks.py; running: execution.py)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from qaqfilter.costs import Work
from qaqfilter.joint import Joint, Whole
from qaqfilter.model_files import ChatTemplate, ModelFiles
from qaqfilter.types import (
    BadRecord,
    Floats,
    Record,
    Request,
    TokenSequence,
)

T_co = TypeVar("T_co", covariant=True)


class Needs(NamedTuple):
    """What must be installed before a component can be created.

    `pip` is what follows ``pip install``; `modules` are the import names that prove it is there.
    """

    pip: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Component(Generic[T_co]):
    """What a component hook yields: a name for recipes, its options, and how to make it.

    `config` validates the block of the recipe (a pydantic model with extra="forbid") and
    writes its reference page; `create` gets the validated options first, then what its hook
    spec lists, and is the place for heavy imports.
    """

    name: str
    config: type[BaseModel]
    create: Callable[..., T_co]
    summary: str
    needs: Needs | None = None


class Source(Protocol):
    """Where records come from. `read` may be called more than once and must yield the same."""

    def read(self) -> Iterator[Record | BadRecord]:
        """Yield every record and every bad record, in a fixed order, streaming.

        Raises SourceError where the input cannot be opened.
        """
        ...


@runtime_checkable
class ReadsParts(Protocol):
    """A source that can begin in the middle: so workers share the reading of many parts."""

    def read_part(self, part: str) -> Iterator[Record | BadRecord]:
        """What `read` yields of one part (`Origin.part`), the same and in the same order.

        Raises SourceError where there is no such part.
        """
        ...


class Resources(Protocol):
    """What a backend or prompt may ask of the run while it is created."""

    def model_files(self, location: str, revision: str | None = None) -> ModelFiles:
        """Resolve a model location through the models hook. Raises ModelError."""
        ...

    def records(self) -> Iterator[Record]:
        """Read the run's input afresh (for a model that is fitted on the data)."""
        ...


class Backend(Protocol):
    """A causal language model that gives log-likelihoods of tokens.

    Attributes
    ----------
    facts: everything that changes a number beyond the stated tolerance; goes into the
        fingerprint.
    max_length: most tokens in a sequence, the start token included.
    batch_tokens: most tokens that one call of `logprobs` should get; what is to be padded the
        backend splits further (`qaqfilter.batching.token_budget_batches`).
    start_token: the id put before a sequence: BOS, or EOS where the model has no BOS.
    adds_start: whether the model expects the start token even before template text.
    chat_template: the model's own, or None.
    """

    @property
    def facts(self) -> Mapping[str, object]: ...
    @property
    def max_length(self) -> int: ...
    @property
    def batch_tokens(self) -> int: ...
    @property
    def start_token(self) -> int: ...
    @property
    def adds_start(self) -> bool: ...
    @property
    def chat_template(self) -> ChatTemplate | None: ...

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """Token ids of one segment: no BOS, no dummy space; special tokens only in markup.

        May be called on another thread while `logprobs` runs.
        """
        ...

    def logprobs(self, sequences: Sequence[TokenSequence]) -> Sequence[tuple[Floats, ...]]:
        """Log-probabilities (nats, ≤ 0) of every token in every span, given all tokens before.

        One tuple a sequence, in order; in it one float64 array a span, as long as the span.
        Raises BackendError for a sequence over `max_length`.
        """
        ...

    def close(self) -> None:
        """Free the model's memory now."""
        ...


@runtime_checkable
class EncodesBatches(Protocol):
    """A backend that encodes many texts faster than one by one."""

    def encode_batch(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """What `encode` gives for each text. May run while `logprobs` does, on another thread."""
        ...


@runtime_checkable
class EncodesWhole(Protocol):
    """A backend that can be asked with joint texts (`qaqfilter.Joint`)."""

    def encode_whole(self, text: str) -> Whole:
        """The ids that the model's own tokenizer gives by default. On any thread, as `encode`."""
        ...


@runtime_checkable
class TellsPlaces(Protocol):
    """A backend that can say which characters of a text each of its tokens writes."""

    def places(self, text: str) -> Sequence[tuple[int, int]]:
        """For each token of ``encode(text, markup=False)`` where in the text it begins and ends.

        In order. Tokens that write parts of one character share it. Raises BackendError where the
        tokenizer changes texts so that this cannot be told.
        """
        ...


@runtime_checkable
class LoadsLate(Protocol):
    """A backend that loads its weights when they are first needed, and can do so when told."""

    def load(self) -> None:
        """Load the weights now, unless they are loaded. Not counted by `run.window_seconds`."""
        ...


@runtime_checkable
class EstimatesMemory(Protocol):
    """A backend that can say, before its weights are loaded, what it will take."""

    def memory(self, longest: int) -> int:
        """Most bytes in use for sequences of up to `longest` tokens, weights included."""
        ...


@runtime_checkable
class CountsWork(Protocol):
    """A backend that pads, or computes a common beginning once, and says how much."""

    @property
    def work(self) -> Work:
        """What was done since the backend was created."""
        ...


class PromptFormat(Protocol):
    """Arranges a record as context and target, for each of the four likelihoods."""

    def request(self, likelihood: str, record: Record) -> Request | Joint:
        """The request for `likelihood`, one of `qaqfilter.LIKELIHOODS`. Raises PromptError.

        A Joint is tokenised whole, as published scripts do; `too_long` of the model does not
        shorten it.
        """
        ...
