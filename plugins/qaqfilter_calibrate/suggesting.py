"""Thresholds for a step, and what they would catch of records that they were not chosen on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from qaqfilter import Floats, Ints
from qaqfilter_calibrate.judging import Judgement
from qaqfilter_calibrate.plain import Data, number
from qaqfilter_calibrate.statistics import Draws, choose, middle


def suggestion(one: Judgement, draws: Draws) -> Data:
    """Bounds for a step by itself that cost no more than its `cost`.

    For a step that has numbers; `account.py` says what the fields are.
    """
    best = choose(one.cuts(np.arange(one.copies.size)), one.to_cut, one.there)
    drawn = [_elsewhere(one, places) for places in draws]
    low, high, caught, cost = np.array(drawn).T
    # Bounds that catch nothing would be pasted for nothing.
    bounds = (best.low, best.high) if best.catch > 0 else (-math.inf, math.inf)
    keep = one.as_keep(*bounds)
    return {
        "step": one.id,
        "keep": keep,
        "yaml": None if keep is None else as_yaml(keep),
        **_bound("low", bounds[0], low),
        **_bound("high", bounds[1], high),
        "catch": number(best.catch),
        **_mean("caught_elsewhere", caught),
        **_mean("cost_elsewhere", cost),
    }


def _elsewhere(one: Judgement, places: Ints) -> tuple[float, float, float, float]:
    """Bounds by one resample, and what they catch and cost among the records it left out."""
    cuts = one.cuts(places)
    best = choose(cuts, one.to_cut[:, places], one.there[:, places])
    left_out = np.ones(one.copies.size, dtype=np.bool_)
    left_out[places] = False
    catches = []
    for values, there in zip(one.to_cut, one.there, strict=True):
        if (here := there & left_out).any():
            catches.append(_dropped(values[here], best.low, best.high))
    cost = _dropped(one.clean[left_out], best.low, best.high) if left_out.any() else math.nan
    return best.low, best.high, float(np.mean(catches)) if catches else math.nan, cost


def as_yaml(keep: Mapping[str, Any]) -> str:
    """A keep rule as a line for a recipe, four digits being enough."""
    texts = []
    for name, bound in keep.items():
        text = f"[{', '.join(map(_digits, bound))}]" if isinstance(bound, list) else _digits(bound)
        texts.append(f"{name}: {text}")
    return f"keep: {{{', '.join(texts)}}}"


def _digits(value: float) -> str:
    # YAML takes 1e-05 for a text, and 1.0e-05 for a number.
    text = f"{value:.4g}"
    return f"{value:.4e}" if "e" in text else text


def _bound(name: str, value: float, drawn: Floats) -> Data:
    """A bound with its interval over the resamples; null for none."""
    low, high = middle(drawn)
    # Exclusive bounds are the next number below what is meant.
    found = {name: value, f"{name}_low": low, f"{name}_high": high}
    return {key: number(round(bound, 12)) for key, bound in found.items()}


def _mean(name: str, drawn: Floats) -> Data:
    known = drawn[~np.isnan(drawn)]
    low, high = middle(drawn)
    return {
        name: number(known.mean()) if len(known) else None,
        f"{name}_low": number(low),
        f"{name}_high": number(high),
    }


def _dropped(values: Floats, low: float, high: float) -> float:
    return float((~((values >= low) & (values <= high))).mean())
