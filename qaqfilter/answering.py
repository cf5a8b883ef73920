"""A plan's likelihoods: from the score store where it knows them, else from the backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qaqfilter.batching import plan_batches
from qaqfilter.blame import Culprit
from qaqfilter.costs import Cost
from qaqfilter.errors import BackendError
from qaqfilter.hanging import Watch
from qaqfilter.identity import Score
from qaqfilter.metering import Clock, cost_of, records_done, work_of
from qaqfilter.planning import Plan, Results, check_results
from qaqfilter.protocols import Backend, LoadsLate
from qaqfilter.store import ScoreStore
from qaqfilter.tokens import TokenValues
from qaqfilter.types import Bools, Floats, Ints, LikelihoodColumn, Status, TokenSequence

Progress = Callable[[int, int], None]
"""Called with (records done, tokens done) after every batch."""

Tokens = Sequence[TokenValues | None]
"""For each request its tokens' log-probabilities; None where not asked for, or undefined."""


@dataclass(slots=True)
class Answerer:
    """Asks the store, then the backend, batch by batch."""

    model: Culprit
    backend: Backend
    watch: Watch
    store: ScoreStore | None
    progress: Progress

    def __call__(
        self, plan: Plan, record: Ints, records: int, detailed: Bools | None
    ) -> tuple[LikelihoodColumn, Tokens | None, Cost]:
        """The plan's likelihoods in the order of its requests, their tokens, and what they cost.

        `record` is the place of each request's record, of which there are `records`; `detailed`
        says which requests are wanted by the token, None none of them.
        """
        clock = Clock()
        # Asked for its budget, a backend may load the model.
        with clock, self.model.blamed("choosing its batch size"):
            before = work_of(self.backend)
            # Planned before the store is asked, and computed whole where anything is missing: so
            # the batches, and with them the last digits, are those of an uninterrupted run.
            batches = plan_batches(plan.sequences, self.backend.batch_tokens)
        ready, *done = records_done(plan, batches, record, records)
        self.progress(ready, 0)
        users = plan.requests_by_sequence()
        known = self._known(plan, detailed)
        stored = 0
        for batch, finished in zip(batches, done, strict=True):
            requests = sorted(request for index in batch for request in users[index])
            given = [plan.sequences[i] for i in batch]
            tokens = sum(len(sequence.ids) for sequence in given)
            if all(map(known.has, requests)):
                stored += tokens
            else:
                with clock, self.model.blamed("scoring"):
                    results = dict(zip(batch, self._ask(given), strict=True))
                    scores, details = known.learn(plan, results, requests)
                if self.store is not None:
                    self.store.add(scores)
                    if details:
                        self.store.tokens.add(details)
            self.progress(finished, tokens)
        with self.model.blamed("counting its work"):
            cost = cost_of(plan, stored, before, work_of(self.backend), clock.seconds)
        return known.column(), known.tokens(), cost

    def _known(self, plan: Plan, detailed: Bools | None) -> _Known:
        wanted = [] if detailed is None else detailed.tolist()
        if self.store is None:  # without a store, any name will do
            return _Known(range(len(plan.routes)), wanted, {}, {})
        with self.model.blamed("encoding texts"):  # as what is no token id
            keys = plan.keys()
        details = [key for key, want in zip(keys, wanted, strict=True) if want] if wanted else []
        return _Known(
            keys, wanted, self.store.find(keys), self.store.tokens.find(details) if details else {}
        )

    def _ask(self, sequences: Sequence[TokenSequence]) -> Results:
        """The backend's answers, checked."""
        if isinstance(self.backend, LoadsLate):
            self.backend.load()  # here, where nobody looks at the watch
        return check_results(sequences, self.watch.call(self.backend.logprobs, sequences))


@dataclass(slots=True)
class _Known:
    """What is known of a plan's requests, by their keys."""

    keys: Sequence[Any]
    wanted: list[bool]
    """Whether each request is wanted by the token; empty if none is."""
    scores: dict[Any, Score]
    details: dict[Any, TokenValues]

    def has(self, request: int) -> bool:
        """Whether nothing is left to ask about it."""
        if self.keys[request] not in self.scores:
            return False
        return not self.wanted or not self._lacks_tokens(request)

    def _lacks_tokens(self, request: int) -> bool:
        key = self.keys[request]
        return (
            self.wanted[request]
            and self.scores[key].status == Status.OK
            and key not in self.details
        )

    def learn(
        self, plan: Plan, results: Mapping[int, Sequence[Floats]], requests: Sequence[int]
    ) -> tuple[dict[Any, Score], dict[Any, TokenValues]]:
        """Take in a computed batch; what of it was not known: scores, and tokens.

        What came first counts, in a batch and in the store: it is what a run that goes on from
        here will find. Raises BackendError where tokens of a stored sum are not finite any more.
        """
        column = plan.answers(results, requests)
        values = zip(
            column.logprob.tolist(), column.tokens.tolist(), column.status.tolist(), strict=True
        )
        scores: dict[Any, Score] = {}
        for request, score in zip(requests, values, strict=True):
            if self.keys[request] not in self.scores:
                scores.setdefault(self.keys[request], Score(*score))
        self.scores |= scores
        if not self.wanted:
            return scores, {}
        lacking = {self.keys[r]: r for r in reversed(requests) if self._lacks_tokens(r)}
        details = dict(zip(lacking, plan.details(results, [*lacking.values()]), strict=True))
        if not all(np.isfinite(array).all() for array in details.values()):
            raise BackendError(
                "gave tokens that are not finite, of a text that had a number before; `qaqfilter "
                "doctor --selftest` tells whether the model's numbers can be trusted here"
            )
        self.details |= details
        return scores, details

    def column(self) -> LikelihoodColumn:
        """All requests in order."""
        scores = [self.scores[key] for key in self.keys]
        logprob, tokens, status = zip(*scores, strict=True) if scores else ((), (), ())
        return LikelihoodColumn(
            np.array(logprob, dtype=np.float64),
            np.array(tokens, dtype=np.int32),
            np.array(status, dtype=np.int8),
        )

    def tokens(self) -> Tokens | None:
        """Those of all requests in order; None where none were wanted."""
        if not self.wanted:
            return None
        return [
            self.details[key] if want and key in self.details else None
            for key, want in zip(self.keys, self.wanted, strict=True)
        ]
