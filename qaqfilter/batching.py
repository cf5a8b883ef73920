"""Batches under a token budget, and the check that every backend makes of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qaqfilter.errors import BackendError
from qaqfilter.types import Ints, TokenSequence

OVERHEAD = 1 / 32
"""What starting a batch costs, as a share of the budget: backends choose their budget so."""


def plan_batches(sequences: Sequence[TokenSequence], budget: int) -> list[list[int]]:
    """Split indices of `sequences` into batches of at most `budget` tokens, padding included.

    A batch holds sequences with the same shared beginning (`TokenSequence.prefix`), which is not
    counted, and the batches with one beginning follow each other. A single sequence over the
    budget makes a batch of its own. Longest first, so that a batch that does not fit the memory
    is met at once. A function of the arguments alone: the same window, the same batches.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        groups.setdefault(sequence.ids[: sequence.prefix], []).append(index)
    batches = []
    for shared, members in groups.items():
        lengths = [len(sequences[index].ids) - len(shared) for index in members]
        batches += [[members[i] for i in b] for b in token_budget_batches(lengths, budget)]
    return batches


def token_budget_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split indices of `lengths` into batches of at most `budget` tokens, at the least cost.

    The cost of a batch is its padded size, that is its longest length times its sequences, and
    OVERHEAD of the budget. Sorted by length, the cheapest cuts are found for every beginning of
    the list in turn (dynamic programming).
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    overhead = budget * OVERHEAD
    cost = np.full(len(order) + 1, np.inf)  # of the first so many, in the best way
    cost[0] = 0.0
    begins: Ints = np.zeros(len(order) + 1, dtype=np.int64)  # where their last batch begins
    counts = np.arange(1, len(order) + 1)
    for start, index in enumerate(order):
        length = max(1, lengths[index])
        most = min(max(1, budget // length), len(order) - start)
        ends = slice(start + 1, start + most + 1)
        found = cost[start] + overhead + length * counts[:most]
        better = found < cost[ends]
        cost[ends][better] = found[better]
        begins[ends][better] = start
    batches = []
    end = len(order)
    while end:
        start = int(begins[end])
        batches.append(order[start:end])
        end = start
    return batches[::-1]


def check_sequences(
    sequences: Sequence[TokenSequence], *, max_length: int, vocabulary: int
) -> None:
    """Raise BackendError for a sequence that a model cannot score, before anything runs.

    That is one over `max_length` tokens, with an id outside ``0..vocabulary - 1``, or with a
    span outside positions 1 to its end: the first token has nothing before it.
    """
    for number, sequence in enumerate(sequences):
        length, ids = len(sequence.ids), sequence.ids
        where = f"sequence {number} of the batch"
        if length > max_length:
            raise BackendError(f"{where} has {length} tokens; at most {max_length} fit")
        if any(not 1 <= start <= end <= length for start, end in sequence.spans):
            raise BackendError(f"{where} of {length} tokens has spans {sequence.spans}")
        if ids and not 0 <= min(ids) <= max(ids) < vocabulary:
            raise BackendError(f"{where} has an id outside 0..{vocabulary - 1}")
