"""What calibration.json is made of."""

from __future__ import annotations

import math
from typing import Any

Data = dict[str, Any]
"""An object of the document, as JSON has it."""


def number(value: float) -> float | None:
    """A number as JSON has it."""
    return float(value) if math.isfinite(value) else None
