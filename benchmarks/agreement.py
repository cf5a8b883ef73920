"""Contenders that compute different numbers must not be compared by their speed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.workload import Sums, Workload

ABSOLUTE = 1e-3
"""Nats on a sum, before length counts."""
PER_TOKEN = 5e-5
"""Nats a scored token: what float32 needs over a large vocabulary (see expected.py)."""


def check(workload: Workload, expected: Sums, sums: Mapping[str, Sums]) -> dict[str, float]:
    """The largest difference of each contender from `expected`, in nats on a record's sum.

    Raises SystemExit, naming the first contender that is off by more than rounding explains.
    """
    largest: dict[str, float] = {}
    for name, own in sums.items():
        differences = []
        for likelihood, values in own.items():
            right = expected[likelihood]
            if values.shape != right.shape:
                raise SystemExit(f"{name} gives {len(values)} sums for {len(right)} records")
            allowed = ABSOLUTE + PER_TOKEN * np.array(workload.targets(likelihood))
            off = np.abs(values - right)
            if not (off <= allowed).all():  # NaN fails too
                worst = int(np.argmax(np.where(np.isnan(off), np.inf, off - allowed)))
                raise SystemExit(
                    f"{name} gives {values[worst]:.6f} nats for {likelihood} of "
                    f"{workload.records[worst].id}, where {right[worst]:.6f} is right; "
                    f"rounding would explain {allowed[worst]:.6f}"
                )
            differences.append(float(off.max()))
        largest[name] = max(differences)
    return largest
