"""Numbers as people read them."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 4) -> str:
    """A score, to so many significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    shown = count(value) if 1e4 <= abs(value) < 1e15 else f"{value:.{digits}g}"
    return shown.replace("-", "−")


def count(value: float) -> str:
    """A whole number, its thousands apart."""
    return f"{value:,.0f}".replace(",", "\u202f")


def percent(part: float, whole: float) -> str:
    """A share; a dash where there is no whole."""
    if not whole:
        return "–"
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.2g} %"


def seconds(value: float) -> str:
    """A time, in the unit that suits it."""
    if value < 90:
        return f"{value:.3g} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"
