"""A random number for every record, for baselines."""

from __future__ import annotations

from collections.abc import Iterable

from qaqfilter import Component, Selector, hookimpl
from qaqfilter_random.selector import Random, RandomOptions


@hookimpl
def qaqfilter_selectors() -> Iterable[Component[Selector]]:
    """Offer `random`."""
    yield Component("random", RandomOptions, Random, "a number in [0, 1) drawn by seed and record")
