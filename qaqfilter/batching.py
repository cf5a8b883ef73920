"""Batches under a token budget, and the check that every backend makes of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qaqfilter.errors import BackendError
from qaqfilter.types import Ints, TokenSequence

OVERHEAD = 1 / 32
"""What starting a padded batch costs, as a share of the budget: backends choose theirs so."""


def plan_batches(sequences: Sequence[TokenSequence], budget: int) -> list[list[int]]:
    """Split indices of `sequences` into batches of at most `budget` tokens, one call each.

    A batch holds sequences with the same shared beginning (`TokenSequence.prefix`), which is not
    counted, and the batches with one beginning follow each other. They are about equally large;
    a single sequence over the budget makes one of its own. Longest first, so that a batch that
    does not fit the memory is met at once, and neighbours are about as long as one another. A
    function of the arguments alone: the same window, the same batches.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        groups.setdefault(sequence.ids[: sequence.prefix], []).append(index)
    batches = []
    for shared, members in groups.items():
        lengths = {index: len(sequences[index].ids) - len(shared) for index in members}
        enough = sum(lengths.values()) / max(1, math.ceil(sum(lengths.values()) / budget))
        batch: list[int] = []
        size = 0
        for index in sorted(members, key=lambda i: (-lengths[i], i)):
            if batch and (size >= enough or size + lengths[index] > budget):
                batches.append(batch)
                batch, size = [], 0
            batch.append(index)
            size += lengths[index]
        batches.append(batch)
    return batches


def token_budget_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split indices of `lengths` into batches to be padded to at most `budget` tokens each.

    For a backend that pads, at the least cost: a batch costs its padded size, that is its longest
    length times its sequences, and OVERHEAD of the budget. Sorted by length, longest first, the
    cheapest cuts are found for every beginning of the list in turn (dynamic programming).
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
