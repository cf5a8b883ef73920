"""A backend that computes nothing, so that what a run costs is what the engine costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import Field

from qaqfilter import Backend, Component, Floats, Options, Resources, TokenSequence, hookimpl

CHARACTERS_A_TOKEN = 4
_ZEROS = np.zeros(1 << 15)
_NOISE = -np.random.default_rng(0).random(2 * len(_ZEROS))


class NullOptions(Options):
    """Options of the null backend."""

    noise: str = Field(
        "", description="Not zeros but noise, by a text's beginning; the name of the noise."
    )
    every: int = Field(CHARACTERS_A_TOKEN, ge=1, description="So many bytes are a token.")


class Null:
    """Every fourth byte is a token (`every`), and every log-probability 0, without computing."""

    max_length, batch_tokens, start_token, adds_start = len(_ZEROS), len(_ZEROS), 256, True
    chat_template = None
    encoding_seconds = 0.0
    """CPU seconds of all `encode` calls in this process."""

    def __init__(self, config: NullOptions, resources: Resources) -> None:
        self._noise, self._every = config.noise, config.every
        self.facts: Mapping[str, object] = {
            "backend": "zeros",
            "noise": config.noise,
            "every": config.every,
        }

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """One call, timed: what is left of a run's time when all are taken off is the engine's."""
        return self.encode_batch([text], markup=markup)[0]

    def encode_batch(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """The same for many texts."""
        # The thread's own time: another may be running while this one waits for its turn.
        began = time.thread_time()
        ids = [list(text.encode()[:: self._every]) for text in texts]
        Null.encoding_seconds += time.thread_time() - began
        return ids

    def logprobs(self, sequences: Sequence[TokenSequence]) -> list[tuple[Floats, ...]]:
        """Views of one array."""
        if self._noise:
            return [self._spans(s, _NOISE[hash(s.ids[1:5]) % len(_ZEROS) :]) for s in sequences]
        return [tuple([_ZEROS[: end - start] for start, end in s.spans]) for s in sequences]

    def _spans(self, sequence: TokenSequence, noise: Floats) -> tuple[Floats, ...]:
        return tuple([noise[start:end] for start, end in sequence.spans])

    def close(self) -> None:
        """Nothing to free."""


class NullPlugin:
    """What is registered."""

    @staticmethod
    @hookimpl
    def qaqfilter_backends() -> Iterator[Component[Backend]]:
        """``models: {name: {use: zeros}}``."""
        yield Component("zeros", NullOptions, Null, "computes nothing")


qaqfilter_backends = NullPlugin.qaqfilter_backends  # where this file is a `--plugin`
