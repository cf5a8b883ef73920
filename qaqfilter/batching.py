"""Batches under a token budget, and the check that every backend makes of one."""

from __future__ import annotations

from collections.abc import Sequence

from qaqfilter.errors import BackendError
from qaqfilter.types import TokenSequence


def token_budget_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split indices of `lengths` into batches whose padded size stays within `budget` tokens.

    Longest first, so that a batch that does not fit the memory is met at once and padding is
    least. A single sequence over the budget makes a batch of its own. A function of the
    arguments alone: the same window always gives the same batches.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else lengths[index]
        if batch and longest * (len(batch) + 1) > budget:
            batches.append(batch)
            batch = []
        batch.append(index)
    if batch:
        batches.append(batch)
    return batches


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
