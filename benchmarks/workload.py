"""What every contender is asked: the same records, the same texts, the same token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qaqfilter import LIKELIHOODS, Backend, Floats, PromptFormat, Record, Request, Window
from qaqfilter.encoding import Encoded, Encoder
from qaqfilter.planning import plan
from qaqfilter.types import TokenSequence

Sums = Mapping[str, Floats]
"""Likelihood -> sum of log-probabilities (nats) of each record's target, in record order."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Records, and each likelihood's request for each of them: ids, and where the target starts."""

    records: tuple[Record, ...]
    requests: Mapping[str, tuple[Encoded, ...]]

    @property
    def likelihoods(self) -> tuple[str, ...]:
        """The likelihoods that are asked for."""
        return tuple(self.requests)

    @property
    def window(self) -> Window:
        """All records as one window, which is what our own Scorer takes."""
        return Window(0, np.arange(len(self.records), dtype=np.int64), self.records)

    @property
    def longest(self) -> int:
        """Tokens of the longest request."""
        return max(len(request.ids) for row in self.requests.values() for request in row)

    @property
    def tokens(self) -> int:
        """Tokens of all requests, context and target, counted for each request anew."""
        return sum(len(request.ids) for row in self.requests.values() for request in row)

    @property
    def sequences(self) -> tuple[TokenSequence, ...]:
        """What our planner makes of the requests: prefixes ride along, equals are merged."""
        return plan(list(zip(*self.requests.values(), strict=True))).sequences

    def targets(self, likelihood: str) -> list[int]:
        """How many tokens of each record are scored."""
        return [len(request.ids) - request.start for request in self.requests[likelihood]]

    def only(self, likelihoods: Sequence[str]) -> Workload:
        """The same records, asked for fewer likelihoods."""
        return Workload(self.records, {name: self.requests[name] for name in likelihoods})

    def part(self, count: int) -> Workload:
        """`count` records spread over all lengths: a short trial that looks like the whole."""
        sizes = [sum(len(row[n].ids) for row in self.requests.values()) for n in self._numbers]
        order = sorted(self._numbers, key=lambda n: (sizes[n], n))
        count = min(count, len(order))
        chosen = sorted(order[(2 * n + 1) * len(order) // (2 * count)] for n in range(count))
        return self._of(chosen)

    def shortest(self) -> Workload:
        """The record with the fewest tokens: enough to wake everything up."""
        sizes = [sum(len(row[n].ids) for row in self.requests.values()) for n in self._numbers]
        return self._of([sizes.index(min(sizes))])

    @property
    def _numbers(self) -> range:
        return range(len(self.records))

    def _of(self, numbers: Sequence[int]) -> Workload:
        requests = {name: tuple(row[n] for n in numbers) for name, row in self.requests.items()}
        return Workload(tuple(self.records[n] for n in numbers), requests)


def request_of(prompt: PromptFormat, likelihood: str, record: Record) -> Request:
    """What a prompt asks that does not tokenise whole texts."""
    request = prompt.request(likelihood, record)
    assert isinstance(request, Request), "the benchmarks use no prompts of published scripts"
    return request


def make_workload(records: Sequence[Record], backend: Backend, prompt: PromptFormat) -> Workload:
    """All four likelihoods of the records, encoded by the rules that the engine follows."""
    asked = {name: [request_of(prompt, name, record) for record in records] for name in LIKELIHOODS}
    encode = Encoder(backend)
    encode.learn(request for row in asked.values() for request in row)
    requests = {name: tuple(encode(request) for request in row) for name, row in asked.items()}
    return Workload(tuple(records), requests)
