"""One model over windows of records: load it, ask for likelihoods, hand back columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from qaqfilter.batching import token_budget_batches
from qaqfilter.blocks import Block
from qaqfilter.planning import Encoded, Encoder, check_results, plan
from qaqfilter.protocols import Backend, PromptFormat, Resources, WindowScores
from qaqfilter.recipe_keys import TooLong
from qaqfilter.types import (
    LIKELIHOODS,
    Floats,
    Likelihood,
    LikelihoodColumn,
    Record,
    Status,
    Window,
)

Progress = Callable[[int, int], None]
"""Called with (records done, tokens done) after every batch."""


@dataclass(slots=True)
class ScoringStage:
    """One model, one prompt, and the likelihoods that are wanted of every record."""

    model: str
    backend: Block
    prompt: Block
    likelihoods: tuple[str, ...]
    resources: Resources
    too_long: TooLong = "reject"
    progress: Progress = lambda records, tokens: None

    @contextmanager
    def open(self) -> Iterator[Callable[[Window], WindowScores]]:
        """Load the model; free it on leaving, whatever happened."""
        backend: Backend = self.backend.component.create(self.backend.options, self.resources)
        try:
            prompt = self.prompt.component.create(self.prompt.options, backend, self.resources)
            yield Scorer(
                self.model,
                backend,
                prompt,
                self.likelihoods,
                too_long=self.too_long,
                progress=self.progress,
            )
        finally:
            backend.close()


class Scorer:
    """Scores windows with an open backend."""

    def __init__(
        self,
        model: str,
        backend: Backend,
        prompt: PromptFormat,
        likelihoods: Sequence[str],
        *,
        too_long: TooLong = "reject",
        progress: Progress = lambda records, tokens: None,
    ) -> None:
        self._model = model
        self._backend = backend
        self._prompt = prompt
        self._likelihoods = tuple(likelihoods)
        self._too_long = too_long
        self._progress = progress
        self._encode = Encoder(backend)

    def __call__(self, window: Window) -> WindowScores:
        self._encode.forget()
        made = [self._requests(record) for record in window.records]
        encoded = [row for row, _ in made]
        asked = [[r for r in row if isinstance(r, Encoded)] for row in encoded]
        planned = plan(asked)
        results = self._results(planned.sequences, planned.routes, [len(row) for row in asked])
        answers = iter(planned.answers(results))
        rows = [
            [next(answers) if isinstance(r, Encoded) else Likelihood.undefined(r) for r in row]
            for row in encoded
        ]
        return WindowScores(
            window.rows,
            {name: _column([row[i] for row in rows]) for i, name in enumerate(self._likelihoods)},
            np.array([cut for _, cut in made], dtype=np.int64),
            sum(len(sequence.ids) for sequence in planned.sequences),
            self._backend.facts,
        )

    def _requests(self, record: Record) -> tuple[list[Encoded | Status], int]:
        """Each likelihood's ids, or the reason why it does not exist; and the tokens cut."""
        cut = self._excess(record) if self._too_long == "cut_answer" else 0
        return [self._request(name, record, cut) for name in self._likelihoods], cut

    def _request(self, name: str, record: Record, cut: int) -> Encoded | Status:
        if name != "answer" and not record.query:
            return Status.EMPTY_QUERY
        if name != "query" and not record.answer:
            return Status.EMPTY_ANSWER
        encoded = self._encoded(name, record, cut)
        if encoded.start == len(encoded.ids):
            target_is_query = name.startswith("query")
            return Status.EMPTY_QUERY if target_is_query else Status.EMPTY_ANSWER
        if len(encoded.ids) > self._backend.max_length:
            return Status.TOO_LONG
        return encoded

    def _encoded(self, name: str, record: Record, cut: int) -> Encoded:
        request = self._prompt.request(name, record)
        if cut and name == "query_given_answer":
            # In the reverse direction the answer is in the context; the target is never cut,
            # not even where query and answer are the same text.
            return self._encode(request, {self._prompt.request("answer", record).target: cut})
        encoded = self._encode(request)
        kept = len(encoded.ids) - (0 if name == "query" else cut)
        return Encoded(encoded.ids[:kept], encoded.start)

    def _excess(self, record: Record) -> int:
        """How many tokens of the answer must go for all four likelihoods to fit; 0 if none.

        All four, whichever are asked for: a record's answer is the same in every step. Where
        nothing of the answer would be left, nothing is cut, and the record is too long.
        """
        if not record.query or not record.answer:
            return 0
        encoded = {name: self._encode(self._prompt.request(name, record)) for name in LIKELIHOODS}
        excess = max(len(e.ids) for e in encoded.values()) - self._backend.max_length
        answer = len(encoded["answer"].ids) - encoded["answer"].start
        return excess if 0 < excess < answer else 0

    def _results(
        self,
        sequences: Sequence[Any],
        routes: Sequence[tuple[int, int]],
        requests_per_record: Sequence[int],
    ) -> list[Sequence[Floats]]:
        results: list[Sequence[Floats]] = [()] * len(sequences)
        waiting, users = _who_waits(routes, requests_per_record)
        self._progress(sum(1 for count in waiting if count == 0), 0)
        budget = self._backend.batch_tokens
        for batch in token_budget_batches([len(s.ids) for s in sequences], budget):
            given = [sequences[i] for i in batch]
            answered = self._backend.logprobs(given)
            check_results(given, answered, f"of model {self._model!r}")
            done = 0
            for index, arrays in zip(batch, answered, strict=True):
                results[index] = arrays
                for record in users[index]:
                    waiting[record] -= 1
                    done += waiting[record] == 0
            self._progress(done, sum(len(s.ids) for s in given))
        return results


def _who_waits(
    routes: Sequence[tuple[int, int]], requests_per_record: Sequence[int]
) -> tuple[list[int], dict[int, set[int]]]:
    """How many sequences each record waits for, and which records wait for each sequence."""
    users: dict[int, set[int]] = {}
    waiting: list[int] = []
    position = 0
    for record, count in enumerate(requests_per_record):
        hosts = {sequence for sequence, _ in routes[position : position + count]}
        for host in hosts:
            users.setdefault(host, set()).add(record)
        waiting.append(len(hosts))
        position += count
    return waiting, users


def _column(likelihoods: Sequence[Likelihood]) -> LikelihoodColumn:
    return LikelihoodColumn(
        np.array([x.logprob for x in likelihoods], dtype=np.float64),
        np.array([x.tokens for x in likelihoods], dtype=np.int64),
        np.array([x.status for x in likelihoods], dtype=np.int8),
    )
