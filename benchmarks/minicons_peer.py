"""minicons as a contender: its scorer for causal models takes texts, not token ids.

A conditional likelihood is `conditional_score`: context and target joined, tokenised as one text,
the context's own length cut off. That gives our ids where no token spans the border. Where the
ids differ the numbers could not agree either, so such a likelihood is left out, and it is said.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.contender import Contender, full_logits
from benchmarks.models import Loaded
from benchmarks.workload import Sums, Workload, request_of
from qaqfilter import LIKELIHOODS, PromptFormat, Request

Texts = tuple[str, str]
"""What stands before the target (may be empty), and the target."""


def minicons(
    loaded: Loaded, prompt: PromptFormat, workload: Workload
) -> tuple[Callable[[int], Contender], dict[str, int]]:
    """Batch size -> contender for what it can do of `workload`; and likelihood -> ids that differ.

    The second counts the records whose ids its text interface cannot reproduce.
    """
    library: Any = import_module("minicons.scorer")
    scorer = library.IncrementalLMScorer(loaded.model, device="cpu", tokenizer=loaded.tokenizer)

    def texts(likelihood: str, part: Workload) -> list[Texts]:
        return [_texts(request_of(prompt, likelihood, record)) for record in part.records]

    different = {
        name: sum(
            not _same_ids(loaded.tokenizer, pair, request.ids, request.start)
            for pair, request in zip(texts(name, workload), workload.requests[name], strict=True)
        )
        for name in workload.likelihoods
    }
    able = tuple(name for name in LIKELIHOODS if different.get(name) == 0)

    def with_batches_of(rows: int) -> Contender:
        def score(part: Workload) -> Sums:
            return {name: _scores(scorer, texts(name, part), rows) for name in part.likelihoods}

        # A batch of logits, and up to three copies of one row while it goes through them.
        memory = full_logits(loaded.model, rows=rows + 3, copies=1)
        return Contender(f"minicons, batch {rows}", score, memory, able)

    return with_batches_of, different


def _scores(scorer: Any, pairs: list[Texts], rows: int) -> Any:
    """Sums in the order of `pairs`; batches are made of texts of similar length."""
    out = np.zeros(len(pairs))
    order = sorted(range(len(pairs)), key=lambda n: -sum(map(len, pairs[n])))
    for first in range(0, len(order), rows):
        batch = order[first : first + rows]
        before, after = [pairs[n][0] for n in batch], [pairs[n][1] for n in batch]
        if any(before):
            sums = scorer.conditional_score(before, after, separator="", reduction=_sum)
        else:
            sums = scorer.sequence_score(after, reduction=_sum)
        out[batch] = sums
    return out


def _sum(logprobs: Any) -> float:
    return float(logprobs.double().sum())


def _texts(request: Request) -> Texts:
    return "".join(segment.text for segment in request.context), request.target.text


def _same_ids(tokenizer: Any, pair: Texts, ids: tuple[int, ...], start: int) -> bool:
    """Whether its way to tokenise gives these ids, with the target at the same place."""
    before, after = pair
    own = tokenizer(before)["input_ids"] if before else ids[:1]
    return tuple(tokenizer(before + after)["input_ids"]) == ids and len(own) == start
