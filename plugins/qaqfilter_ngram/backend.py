"""P(t | context) = (1 - cache) * smooth(t, fitted) + cache * smooth(t, seen so far).

smooth(t, counts) = (counts[context, t] + add_k) / (counts[context] + 256 * add_k), where the
context is the ``order - 1`` tokens before t.

Tokens are the bytes of the UTF-8 text, 0 to 255, and the start token 256, which is never
predicted. Where fewer than ``order - 1`` tokens stand before t, start tokens fill the gap.

`fitted` are counts over the texts that the model was fitted on. `seen so far` are the same counts
over the tokens before t in the very sequence that is scored: an adaptive cache (R. Kuhn and
R. De Mori, "A cache-based natural language model for speech recognition", IEEE PAMI 12(6), 1990).
Without it an n-gram model forgets all but the last ``order - 1`` tokens, and nll(Q|A) would be
nll(Q): the cache is what lets an answer say something about its query.

Everything is float64 in a fixed order: same counts, same sequence, same bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import (
    BackendError,
    ExistingRecipePath,
    ModelError,
    Options,
    Resources,
    TokenSequence,
    Whole,
)

VOCABULARY = 256
START = 256

Gram = tuple[int, ...]


class NgramOptions(Options):
    """Options of `ngram`."""

    order: int = Field(
        2, ge=1, le=5, description="Length of the n-grams: each byte depends on order - 1 before."
    )
    add_k: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Added to every count (add-k smoothing)."
    )
    cache: float = Field(
        0.5, ge=0, lt=1, description="Weight of the n-grams seen so far in the same sequence."
    )
    fit: list[ExistingRecipePath] | None = Field(
        None,
        description="Text files to fit on, each one text; without it, the run's own input: each "
        "query, line break, answer, and each answer, line break, query.",
    )


class Counts:
    """How often each n-gram was seen, and each context (an n-gram without its last token)."""

    def __init__(self) -> None:
        self.grams: Counter[Gram] = Counter()
        self.contexts: Counter[Gram] = Counter()

    def add(self, grams: Sequence[Gram]) -> None:
        self.grams.update(grams)
        self.contexts.update(gram[:-1] for gram in grams)

    def smooth(self, gram: Gram, add_k: float) -> float:
        """Probability of the last token after the others."""
        seen, context = self.grams.get(gram, 0), self.contexts.get(gram[:-1], 0)
        return (seen + add_k) / (context + VOCABULARY * add_k)

    def digest(self) -> str:
        """The same for the same counts, whatever the order in which they came."""
        digest = blake2b(digest_size=16)
        for gram in sorted(self.grams):
            digest.update(f"{gram}{self.grams[gram]}".encode())
        return digest.hexdigest()


class NgramBackend:
    """An n-gram model of bytes with add-k smoothing and a cache."""

    max_length = 1 << 16
    batch_tokens = 1 << 16
    start_token = START
    adds_start = True
    chat_template = None

    def __init__(self, config: NgramOptions, resources: Resources) -> None:
        self.config = config
        self.fitted = Counts()
        for text in _texts(config, resources):
            self.fitted.add(self._grams((START, *text))[1:])
        self.facts: Mapping[str, object] = {
            "backend": "ngram",
            "order": config.order,
            "add_k": config.add_k,
            "cache": config.cache,
            "counts": self.fitted.digest(),
        }

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """The bytes of the text; there are no special tokens to spell."""
        return list(_bytes(text))

    def encode_whole(self, text: str) -> Whole:
        """The start token and the bytes of the text."""
        starts = [place for place, letter in enumerate(text) for _ in _bytes(letter)]
        return Whole([START, *_bytes(text)], [0, *starts])

    def places(self, text: str) -> list[tuple[int, int]]:
        """Every byte is of one letter."""
        return [(at, at + 1) for at, letter in enumerate(text) for _ in _bytes(letter)]

    def logprobs(
        self, sequences: Sequence[TokenSequence]
    ) -> Sequence[tuple[NDArray[np.float64], ...]]:
        """Each sequence on its own, so neighbours cannot change a number."""
        return [self._spans(sequence) for sequence in sequences]

    def close(self) -> None:
        """Nothing to free that Python does not."""

    def _spans(self, sequence: TokenSequence) -> tuple[NDArray[np.float64], ...]:
        if len(sequence.ids) > self.max_length:
            raise BackendError(
                f"a sequence of {len(sequence.ids)} tokens is over the limit of {self.max_length}"
            )
        last = max((end for _, end in sequence.spans), default=1)
        every = np.array([math.nan, *self._walk(sequence.ids[:last])])
        spans = tuple(every[start:end] for start, end in sequence.spans)
        if any(np.isnan(span).any() for span in spans):
            raise BackendError("only bytes after the first token have a likelihood")
        return spans

    def _walk(self, ids: Sequence[int]) -> Iterator[float]:
        """Log-probability of every token after the first; NaN for a start token."""
        weight, add_k = self.config.cache, self.config.add_k
        seen = Counts()
        for gram in self._grams(ids)[1:]:
            chance = (1 - weight) * self.fitted.smooth(gram, add_k)
            chance += weight * seen.smooth(gram, add_k)
            # The two shares may round to a hair above 1 where smoothing is next to nothing.
            # Next to no smoothing also rounds to a chance of zero.
            logarithm = math.log(chance) if chance > 0 else -math.inf
            yield min(0.0, logarithm) if gram[-1] != START else math.nan
            seen.add((gram,))

    def _grams(self, ids: Sequence[int]) -> list[Gram]:
        """The n-gram that ends at each position."""
        padded = (*[START] * (self.config.order - 1), *ids)
        return list(zip(*(padded[shift:] for shift in range(self.config.order)), strict=False))


def _texts(config: NgramOptions, resources: Resources) -> Iterable[bytes]:
    if config.fit is None:
        exchanges = (one for record in resources.records() for one in record.exchanges())
        for exchange in exchanges:
            query, answer = _bytes(exchange.query), _bytes(exchange.answer)
            yield query + b"\n" + answer
            yield answer + b"\n" + query
        return
    for path in config.fit:
        try:
            yield Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"ngram cannot read its text to fit on: {error}") from error


def _bytes(text: str) -> bytes:
    """JSON may hold half a surrogate pair; it has bytes here too."""
    return text.encode("utf-8", "surrogatepass")
