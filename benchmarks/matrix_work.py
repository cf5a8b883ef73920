"""How much of the machine's own matrix rate a run reaches.

Only products with weight matrices are counted, each as often as the numbers require. Attention,
norms and log-softmax are work too, so 100 % cannot be reached; and a run that computes a thing
twice is not paid for it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from qaqfilter.types import TokenSequence

SHAPES = ((2048, 2048, 2048), (2048, 640, 2048), (2048, 2048, 640))
"""Rows, inner size, columns: a square product, and two of the sizes of a small model."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Floating-point operations a token: in the body's Linear layers, and in the output head."""

    body: int
    head: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that go through the body, and positions that are scored."""

    body: int
    scored: int

    def operations(self, weights: Weights) -> int:
        """Floating-point operations that they need."""
        return self.body * weights.body + self.scored * weights.head


def weights_of(model: Any) -> Weights:
    """Two operations a weight and token: a product and a sum."""
    config = model.config.get_text_config()
    linear = [m for m in model.base_model.modules() if isinstance(m, torch.nn.Linear)]
    body = sum(module.weight.numel() for module in linear)
    return Weights(2 * body, 2 * int(config.hidden_size) * int(config.vocab_size))


def tokens_of(
    sequences: Sequence[TokenSequence], shared: Callable[[TokenSequence], int] = lambda _: 0
) -> Tokens:
    """What planned sequences need; `shared`: ids at a sequence's start that another computes.

    The last scored token of a sequence is predicted, never read, and a position that stands in
    two spans is scored once.
    """
    body = scored = 0
    for sequence in sequences:
        positions = {n for start, end in sequence.spans for n in range(start, end)}
        if positions:
            body += max(0, max(positions) - shared(sequence))
            scored += len(positions)
    return Tokens(body, scored)


class Sgemm:
    """Rates of float32 torch.mm; `measure` it before and after what it is compared with."""

    def __init__(self) -> None:
        self._rates: dict[tuple[int, int, int], list[float]] = {shape: [] for shape in SHAPES}

    def measure(self, repeats: int = 5) -> None:
        """Add some measurements of every shape."""
        with torch.inference_mode():
            for (rows, inner, columns), rates in self._rates.items():
                # Like a Linear layer: the second matrix is stored transposed.
                a, b = torch.randn(rows, inner), torch.randn(columns, inner).T
                torch.mm(a, b)
                for _ in range(repeats):
                    began = time.perf_counter()
                    torch.mm(a, b)
                    seconds = time.perf_counter() - began
                    rates.append(2 * rows * inner * columns / seconds)

    @property
    def rate(self) -> float:
        """Operations a second: the median over the shapes of each shape's median."""
        return statistics.median(statistics.median(rates) for rates in self._rates.values())

    def __str__(self) -> str:
        each = ", ".join(
            f"{'x'.join(map(str, shape))}: {statistics.median(rates) / 1e9:.0f}"
            for shape, rates in self._rates.items()
        )
        return f"{self.rate / 1e9:.0f} GFLOP/s (median of {each})"


def report(tokens: Tokens, weights: Weights, seconds: float, sgemm: Sgemm) -> str:
    """What was needed, at what rate it came, and the share of the machine's own."""
    needed = tokens.operations(weights)
    head = tokens.scored * weights.head / needed
    reached = needed / seconds
    return (
        f"matrix work: {tokens.body} tokens through the body, {tokens.scored} positions scored: "
        f"{needed / 1e9:.0f} GFLOP ({head:.0%} in the output head)\n"
        f"reached: {reached / 1e9:.0f} GFLOP/s; this machine's float32 torch.mm: {sgemm}\n"
        f"share of torch.mm: {reached / sgemm.rate:.0%}"
    )
