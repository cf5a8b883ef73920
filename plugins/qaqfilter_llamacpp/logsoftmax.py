"""log p(t) = x_t − max − log Σ exp(x − max), for one token of each row of logits.

Differences and exponentials are float32, as the logits are, and sums float64: the error is
below 1e-6 nats at any vocabulary size (tested), while float64 throughout would take twice as
long. Rows are done one by one, in a buffer that stays in the processor's cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qaqfilter.types import Floats


def token_logprobs(rows: NDArray[np.float32], tokens: Sequence[int]) -> Floats:
    """Log-probability (nats, ≤ 0) of token ``tokens[i]`` under the logits ``rows[i]``.

    NaN where a row holds NaN or +inf; −inf logits are probabilities of zero.
    """
    result = np.empty(len(rows), dtype=np.float64)
    buffer = np.empty(rows.shape[1], dtype=np.float32)
    with np.errstate(invalid="ignore", under="ignore"):
        for index, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            highest = row.max()
            np.subtract(row, highest, out=buffer)
            np.exp(buffer, out=buffer)
            total = float(buffer.sum(dtype=np.float64))
            # The largest term of the sum is 1, so its logarithm exists unless it is NaN.
            result[index] = float(row[token]) - float(highest) - math.log(total)
    return np.minimum(result, 0.0)
