"""Length-sorted batches under a token budget, for every backend."""

from __future__ import annotations

from collections.abc import Sequence


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
