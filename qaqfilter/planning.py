"""Requests -> token sequences, as few as possible -> likelihoods back to the requests.

A causal pass over context and target also yields the likelihood of every prefix. So, within a
record, a request whose ids are a prefix of another's rides along in it; and equal sequences of
different records are computed once. Four likelihoods of a plain prompt cost two sequences.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qaqfilter.errors import BackendError
from qaqfilter.protocols import Backend
from qaqfilter.types import Floats, Likelihood, Request, Segment, Status, TokenSequence


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request as token ids; the target is ``ids[start:]``."""

    ids: tuple[int, ...]
    start: int


class Encoder:
    """Requests -> ids, under the rules of docs/methods.md.

    Segments are tokenised one by one and concatenated, so the target's ids do not depend on the
    context. The start token stands first where the model expects it, and always where nothing
    else would stand before the target or before data; never twice.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._markup: dict[str, list[int]] = {}
        self._data: dict[str, list[int]] = {}

    def __call__(self, request: Request, shorter: Mapping[Segment, int] | None = None) -> Encoded:
        """The request's ids; `shorter`: tokens to cut off the ends of segments in the context."""
        shorter = shorter or {}
        context: list[int] = []
        for segment in request.context:
            context += self._ids(segment, shorter.get(segment, 0))
        start = self._backend.start_token
        opens_with_data = not request.context or not request.context[0].markup
        expected = self._backend.adds_start and context[:1] != [start]
        if opens_with_data or expected or not context:
            context.insert(0, start)
        return Encoded((*context, *self._ids(request.target)), len(context))

    def forget(self) -> None:
        """Drop what was remembered of the last records' data; template text is kept."""
        self._data.clear()

    def _ids(self, segment: Segment, cut: int = 0) -> list[int]:
        known = self._markup if segment.markup else self._data
        ids = known.get(segment.text)
        if ids is None:
            ids = known[segment.text] = self._backend.encode(segment.text, markup=segment.markup)
        return ids[: len(ids) - cut]


@dataclass(frozen=True, slots=True)
class Plan:
    """Sequences for the backend, and for every request the (sequence, span) that answers it."""

    sequences: tuple[TokenSequence, ...]
    routes: tuple[tuple[int, int], ...]

    def answers(self, results: Sequence[Sequence[Floats]]) -> list[Likelihood]:
        """One likelihood a request, in request order, from checked results."""
        return [_likelihood(results[sequence][span]) for sequence, span in self.routes]


def plan(records: Iterable[Sequence[Encoded]]) -> Plan:
    """Plan the requests of many records; `routes` follows the order in which they were given."""
    ids: list[tuple[int, ...]] = []
    spans: list[dict[tuple[int, int], int]] = []
    known: dict[bytes, int] = {}
    routes: list[tuple[int, int]] = []
    for requests in records:
        keys = [array("q", request.ids).tobytes() for request in requests]
        hosts: dict[int, int] = {}
        placed: list[tuple[bytes, int]] = []
        for index in sorted(range(len(requests)), key=lambda i: -len(keys[i])):
            key = keys[index]
            # Fixed-width ids: a prefix in bytes is a prefix in ids.
            host = next((at for longer, at in placed if longer.startswith(key)), None)
            if host is None:
                host = known.setdefault(key, len(ids))
                if host == len(ids):
                    ids.append(requests[index].ids)
                    spans.append({})
                placed.append((key, host))
            hosts[index] = host
        for index, request in enumerate(requests):
            own = spans[hosts[index]]
            span = (request.start, len(request.ids))
            routes.append((hosts[index], own.setdefault(span, len(own))))
    sequences = tuple(TokenSequence(i, tuple(s)) for i, s in zip(ids, spans, strict=True))
    return Plan(sequences, tuple(routes))


def check_results(
    sequences: Sequence[TokenSequence], results: Sequence[Sequence[Floats]], backend: str
) -> None:
    """Check a backend's answers one for one. Raises BackendError; NaN is left to the caller."""
    if len(results) != len(sequences):
        raise BackendError(
            f"backend {backend} gave {len(results)} answers for {len(sequences)} sequences"
        )
    for sequence, arrays in zip(sequences, results, strict=True):
        lengths = [end - start for start, end in sequence.spans]
        if [len(a) for a in arrays] != lengths:
            raise BackendError(
                f"backend {backend} gave spans of {[len(a) for a in arrays]} tokens where "
                f"{lengths} were asked for"
            )
        highest = max((float(np.nanmax(a)) for a in arrays if not np.isnan(a).all()), default=0.0)
        if highest > 0:
            raise BackendError(f"backend {backend} gave a log-probability of {highest}, above 0")


def _likelihood(logprobs: Floats) -> Likelihood:
    total = float(logprobs.sum())
    if not np.isfinite(total):
        return Likelihood.undefined(Status.NOT_FINITE)
    return Likelihood(total, len(logprobs))
