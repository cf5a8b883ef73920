"""What a run holds in memory beside its models, by arithmetic."""

from __future__ import annotations

from qaqfilter.details import detailed
from qaqfilter.recipe import Recipe
from qaqfilter.selectors import Measures, Packs

PASSING = 1.5
"""Peak over what stays: copies pass while ranks and bins are made (measured: docs/speed.md)."""
PROCESS = 155_000_000
"""Bytes of a run of a few records: the interpreter, the libraries that each run loads, buffers."""
SCORE = 16
"""Bytes of a score in the index of the score store."""


def bytes_a_record(recipe: Recipe, units: float = 1) -> int:
    """What a run's columns come to for a record, at their peak. Its text is not held.

    `units` are the exchanges of a record that are scored for themselves, on average.
    """
    needs = {(step.view(m), name) for step in recipe.steps for m, name in step.needs}
    held = units * len(needs) * (8 + 4 + 1)  # sum, tokens and status
    held += units * 8 * len(detailed(recipe))  # where the tokens begin; they are in a file
    held += 2 * 2 + 2 * 8 + 8  # its fate, and its place among those that are left
    for step in recipe.steps:
        held += 8 * len(step.selector.columns)
        held += 8 * len(step.selector.packed) if isinstance(step.selector, Packs) else 0
        held += 8 * (step.keys.group is not None)
        held += isinstance(step.selector, Measures)
    return round(held * PASSING)
