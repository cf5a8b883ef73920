"""The sums that every contender is checked against: full logits, and log-softmax in float64.

torch's log_softmax adds up a row of float32 in float32. Over a vocabulary of 262,144 that alone is
off by about 3e-5 nats a token, always to the same side; who uses it differs by that much from the
truth, and from who does not. So the reference is none of the contenders, and is not timed.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.models import Loaded
from benchmarks.workload import Sums, Workload

_ROWS = 128
"""Positions at a time: float64 takes twice the memory of the logits."""


@torch.inference_mode()
def expected_sums(loaded: Loaded, workload: Workload) -> Sums:
    """One unpadded pass a request, by the model as it is."""
    return {
        name: np.array([_sum(loaded, request.ids, request.start) for request in requests])
        for name, requests in workload.requests.items()
    }


def _sum(loaded: Loaded, ids: tuple[int, ...], start: int) -> float:
    logits = loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    total = 0.0
    for first in range(start, len(ids), _ROWS):
        targets = torch.tensor(ids[first : first + _ROWS])
        rows = logits[first - 1 : first - 1 + len(targets)].double()
        total += float(rows.log_softmax(dim=-1).gather(1, targets[:, None]).sum())
    return total
