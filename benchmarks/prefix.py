"""What is won where every request begins with the same long text.

A chat-like prompt opens with fixed instructions, whose keys and values a backend may compute once
for all records. The same backend runs with and without being told of it; the ideal is the share
of matrix work that is left when each fixed beginning goes through the body once.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from benchmarks.matrix_work import Tokens, Weights, tokens_of
from benchmarks.rounds import Seconds, ratios
from benchmarks.workload import Workload, request_of
from qaqfilter import Backend, ChatTemplate, Floats, PromptFormat, Request, Segment, TokenSequence
from qaqfilter.encoding import Encoder

RULES = """\
You are a careful assistant for programmers. Answer every question about the standard library of \
Python with working code: follow the usual style, handle the edge cases that the question names, \
do not add features that nobody asked for, and write nothing that is not part of the solution.
"""
REVERSE = "Below is a piece of code. Write the description that it was most likely written for."
_USER, _MODEL = f"<start_of_turn>user\n{RULES}\n", "<end_of_turn>\n<start_of_turn>model\n"
CHAT_LIKE: Mapping[str, Any] = {
    "use": "jinja",
    "query": _USER + "{{ query }}",
    "answer_given_query": _USER + "{{ query }}" + _MODEL + "{{ answer }}",
    "answer": _USER + _MODEL + "{{ answer }}",
    "query_given_answer": _USER + REVERSE + "\n\n{{ answer }}" + _MODEL + "{{ query }}",
}
"""A prompt of three distinct beginnings, all of which start with the same rules."""


class Unshared:
    """A backend that is not told which ids are the prompt's own, and so shares nothing."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def facts(self) -> Mapping[str, object]:
        """As the backend has it."""
        return self._backend.facts

    @property
    def max_length(self) -> int:
        """As the backend has it."""
        return self._backend.max_length

    @property
    def batch_tokens(self) -> int:
        """As the backend has it."""
        return self._backend.batch_tokens

    @property
    def start_token(self) -> int:
        """As the backend has it."""
        return self._backend.start_token

    @property
    def adds_start(self) -> bool:
        """As the backend has it."""
        return self._backend.adds_start

    @property
    def chat_template(self) -> ChatTemplate | None:
        """As the backend has it."""
        return self._backend.chat_template

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """As the backend does."""
        return self._backend.encode(text, markup=markup)

    def encode_batch(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """As the backend does, where it can; so that both sides tokenise in the same way."""
        batch = getattr(self._backend, "encode_batch", None)
        if batch is None:
            return [self.encode(text, markup=markup) for text in texts]
        ids: list[list[int]] = batch(texts, markup=markup)
        return ids

    def logprobs(self, sequences: Sequence[TokenSequence]) -> Sequence[tuple[Floats, ...]]:
        """As the backend does, for sequences without a prefix."""
        return self._backend.logprobs([replace(sequence, prefix=0) for sequence in sequences])

    def close(self) -> None:
        """Free the model's memory."""
        self._backend.close()


def beginnings(workload: Workload, prompt: PromptFormat, backend: Backend) -> set[tuple[int, ...]]:
    """The distinct ids with which requests begin whatever the record: leading template text."""
    encode = Encoder(backend)
    found = set()
    for name in workload.likelihoods:
        request = request_of(prompt, name, workload.records[0])
        leading = []
        for segment in request.context:
            if not segment.markup:
                break
            leading.append(segment)
        if leading:
            beginning = Request(tuple(leading), Segment(""))
            encode.learn([beginning])
            found.add(encode(beginning).ids)
    return found


def needed(workload: Workload, starts: set[tuple[int, ...]]) -> tuple[Tokens, Tokens]:
    """Tokens without sharing, and with: each beginning that occurs goes through the body once."""
    sequences = workload.sequences

    def shared(sequence: TokenSequence) -> int:
        return max((len(s) for s in starts if sequence.ids[: len(s)] == s), default=0)

    apart = tokens_of(sequences, shared)
    once = sum(len(s) for s in starts if any(q.ids[: len(s)] == s for q in sequences))
    return tokens_of(sequences), Tokens(apart.body + once, apart.scored)


def report(
    seconds: Seconds, without: Tokens, shared: Tokens, weights: Weights, console: Console
) -> None:
    """Print what sharing won, what it could have won at most, and how much of that it is."""
    won = statistics.median(ratios(seconds, "not shared", "shared"))
    ideal = without.operations(weights) / shared.operations(weights)
    middle = {name: statistics.median(own) for name, own in seconds.items()}
    console.print(
        f"tokens through the body: {without.body} without sharing, {shared.body} with; "
        f"{without.scored} positions scored in both"
    )
    console.print(
        f"sharing is {won:.2f} times as fast; ideal by matrix work {ideal:.2f}; "
        f"ideal time {middle['not shared'] / ideal:.2f} s, reached {middle['shared']:.2f} s: "
        f"{won / ideal:.0%} of the ideal speed"
    )
