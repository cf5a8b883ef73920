"""Encoded requests -> token sequences, as few as possible -> likelihoods back to the requests.

A causal pass over context and target also yields the likelihood of every prefix. So, within a
record, a request whose ids are a prefix of another's rides along in it; and equal sequences of
different records are computed once. Four likelihoods of a plain prompt cost two sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qaqfilter.encoding import Encoded
from qaqfilter.errors import BackendError
from qaqfilter.identity import score_key
from qaqfilter.tokens import TokenValues
from qaqfilter.types import Floats, LikelihoodColumn, Status, TokenSequence

Results = Sequence[Sequence[Floats]]
"""For each sequence, for each of its spans, a log-probability for each token (nats)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sequences for the backend, and for every request the (sequence, span) that answers it."""

    sequences: tuple[TokenSequence, ...]
    routes: tuple[tuple[int, int], ...]
    asked: int
    """Tokens of all the requests, had each been a sequence of its own."""

    @property
    def tokens(self) -> int:
        """Tokens of the sequences."""
        return sum(len(sequence.ids) for sequence in self.sequences)

    def requests_by_sequence(self) -> list[list[int]]:
        """For every sequence the requests that it answers."""
        found: list[list[int]] = [[] for _ in self.sequences]
        for request, (sequence, _) in enumerate(self.routes):
            found[sequence].append(request)
        return found

    def keys(self) -> list[bytes]:
        """What identifies each request's likelihood (see identity.py), in request order."""
        found = []
        for sequence, span in self.routes:
            start, end = self.sequences[sequence].spans[span]
            found.append(score_key(start, self.sequences[sequence].ids[:end]))
        return found

    def answers(
        self, results: Mapping[int, Sequence[Floats]], requests: Sequence[int]
    ) -> LikelihoodColumn:
        """One row for each of `requests`, from checked results by sequence."""
        routes = (self.routes[request] for request in requests)
        found = [results[sequence][span] for sequence, span in routes]
        add = np.add.reduce  # what `sum` calls, without the way there
        logprob = np.array([add(array) for array in found], dtype=np.float64)
        tokens = np.array([len(array) for array in found], dtype=np.int32)
        finite = np.isfinite(logprob)
        return LikelihoodColumn(
            np.where(finite, logprob, np.nan),
            np.where(finite, tokens, 0),
            np.where(finite, Status.OK, Status.NOT_FINITE).astype(np.int8),
        )

    def details(
        self, results: Mapping[int, Sequence[Floats]], requests: Sequence[int]
    ) -> list[TokenValues]:
        """The tokens' own log-probabilities for each of `requests`, from checked results."""
        routes = (self.routes[request] for request in requests)
        return [results[sequence][span].astype(np.float32) for sequence, span in routes]


def plan(records: Iterable[Sequence[Encoded]]) -> Plan:
    """Plan the requests of many records; `routes` follows the order in which they were given."""
    chosen: list[Encoded] = []
    spans: list[dict[tuple[int, int], int]] = []
    known: dict[tuple[int, ...], int] = {}
    routes: list[tuple[int, int]] = []
    asked = 0
    for requests in records:
        hosts: dict[int, int] = {}
        placed: list[tuple[tuple[int, ...], int]] = []
        for index in sorted(range(len(requests)), key=lambda i: -len(requests[i].ids)):
            key = requests[index].ids
            host = next((at for longer, at in placed if longer[: len(key)] == key), None)
            if host is None:
                host = known.setdefault(key, len(chosen))
                if host == len(chosen):
                    chosen.append(requests[index])
                    spans.append({})
                placed.append((key, host))
            hosts[index] = host
        for index, request in enumerate(requests):
            asked += len(request.ids)
            own = spans[hosts[index]]
            span = (request.start, len(request.ids))
            routes.append((hosts[index], own.setdefault(span, len(own))))
    sequences = tuple(
        TokenSequence(host.ids, tuple(wanted), host.prefix)
        for host, wanted in zip(chosen, spans, strict=True)
    )
    return Plan(sequences, tuple(routes), asked)


def check_results(sequences: Sequence[TokenSequence], results: object) -> Results:
    """A backend's answers, checked one for one: whatever it is that came back.

    Raises BackendError; NaN and −inf are left to the caller.
    """
    if not isinstance(results, Sequence) or isinstance(results, str | bytes):
        raise BackendError(_expected("answered with", results))
    if len(results) != len(sequences):
        raise BackendError(f"gave {len(results)} answers for {len(sequences)} sequences")
    every: list[Floats] = [np.empty(0)]
    for sequence, arrays in zip(sequences, results, strict=True):
        if not isinstance(arrays, tuple | list):
            raise BackendError(_expected("answered a sequence with", arrays))
        for array in arrays:
            # Python's numbers, texts and None have no dtype; neither have lists of them.
            if type(array) is not np.ndarray or array.dtype.kind != "f" or array.ndim != 1:
                raise BackendError(_expected("answered a span with", array))
        lengths = [end - start for start, end in sequence.spans]
        if [len(array) for array in arrays] != lengths:
            raise BackendError(
                f"gave spans of {[len(array) for array in arrays]} tokens where {lengths} were "
                "asked for"
            )
        every += arrays
    # All at once, since a call of numpy costs more than the sum of a short span.
    highest = np.fmax.reduce(np.concatenate(every), initial=-np.inf)  # passes over NaN
    if highest > 0:
        raise BackendError(f"gave a log-probability of {highest}, above 0")
    return results


def _expected(what: str, found: object) -> str:
    kind = type(found).__name__
    if isinstance(found, np.ndarray):
        kind = f"array of {found.dtype}, shape {found.shape}"
    return (
        f"{what} an object of the kind {kind}: a backend gives a list with one tuple for each "
        "sequence, in it one array of float64, of one dimension, for each span"
    )
