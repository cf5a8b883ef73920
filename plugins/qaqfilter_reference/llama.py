"""What a log-likelihood is: tokens through a Llama model, in numpy.

The model reads tokens t_0 ... t_n and, at each position, gives one number (a logit) for every
token of its vocabulary. log p(t_i | t_0 ... t_{i-1}) is the logit of t_i at position i-1 minus the
logarithm of the sum of the exponentials of all logits there, in nats.

On the way each token is a vector x, the sum of its embedding and what the layers add to it. A
layer adds twice: attention brings in what stands at earlier positions, the feed-forward part what
follows from x itself. Both read x scaled to unit mean square. (Touvron et al., arXiv 2302.13971;
rotary positions: Su et al., arXiv 2104.09864; gated unit: Shazeer, arXiv 2002.05202; weights are
named and rotary halves laid out as in transformers' LlamaForCausalLM.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 throughout, or float64 throughout: that of the weights


@dataclass(frozen=True, slots=True)
class Shape:
    """What config.json says of a Llama model. `theta` is the base of the rotary rates."""

    layers: int
    hidden: int
    heads: int
    key_heads: int
    head_width: int
    context: int
    vocabulary: int
    epsilon: float
    theta: float


class Llama:
    """Weights by the names that they have in the file, and the pass over one sequence."""

    def __init__(self, shape: Shape, weights: Mapping[str, Array]) -> None:
        self._shape, self._weights = shape, weights
        embedding = weights["model.embed_tokens.weight"]
        self._dtype = embedding.dtype
        self._head = weights.get("lm_head.weight", embedding)  # tied where there is no head
        # Positions turn pairs of numbers by an angle; slower from pair to pair.
        half = np.arange(shape.head_width // 2) / (shape.head_width // 2)
        angles = np.arange(shape.context)[:, None] * shape.theta**-half
        self._cos = np.cos(angles).astype(self._dtype)
        self._sin = np.sin(angles).astype(self._dtype)

    def logprobs(self, ids: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """log p of the tokens at the positions `targets` (each at least 1), in nats."""
        if not len(targets):
            return np.empty(0)
        with np.errstate(all="ignore"):  # what overflows comes out as NaN, and is told as that
            return self._logprobs(ids, targets)

    def _logprobs(self, ids: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
        read = ids[: targets.max()]  # the last token is predicted, not read
        logits = self._hidden(read)[targets - 1] @ self._head.T
        highest = logits.max(axis=-1, keepdims=True)
        total = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=-1))
        chosen = logits[np.arange(len(targets)), ids[targets]]
        # Rounding may leave a certain token a hair above 0; NaN stays NaN.
        found: NDArray[np.float64] = np.minimum(chosen - total, 0.0).astype(np.float64)
        return found

    def _hidden(self, ids: NDArray[np.int64]) -> Array:
        """One vector a position, [length, width], after the last norm."""
        x = self._weights["model.embed_tokens.weight"][ids]
        for layer in range(self._shape.layers):
            name = f"model.layers.{layer}."
            x = x + self._attention(name, self._norm(name + "input_layernorm", x))
            x = x + self._feed_forward(name, self._norm(name + "post_attention_layernorm", x))
        return self._norm("model.norm", x)

    def _norm(self, name: str, x: Array) -> Array:
        """Scaled to a mean square of one, then by a learnt weight for each number."""
        mean_square = np.square(x).mean(axis=-1, keepdims=True)
        normed: Array = x / np.sqrt(mean_square + self._dtype.type(self._shape.epsilon))
        return normed * self._weights[f"{name}.weight"]

    def _linear(self, name: str, x: Array) -> Array:
        product: Array = x @ self._weights[f"{name}.weight"].T
        return product

    def _attention(self, name: str, x: Array) -> Array:
        """Each position takes a weighted mean of the values at itself and before it."""
        shape, length = self._shape, len(x)
        query = self._rotated(self._heads(name + "self_attn.q_proj", x, shape.heads))
        key = self._rotated(self._heads(name + "self_attn.k_proj", x, shape.key_heads))
        value = self._heads(name + "self_attn.v_proj", x, shape.key_heads)
        shared = shape.heads // shape.key_heads  # so many heads ask the same keys
        key, value = key.repeat(shared, axis=0), value.repeat(shared, axis=0)
        likeness = query @ key.transpose(0, 2, 1) * self._dtype.type(shape.head_width**-0.5)
        likeness += np.triu(
            np.full((length, length), -np.inf, self._dtype), 1
        )  # hide what is later
        likeness -= likeness.max(axis=-1, keepdims=True)
        share = np.exp(likeness, out=likeness)
        share /= share.sum(axis=-1, keepdims=True)
        mixed = (share @ value).transpose(1, 0, 2).reshape(length, -1)
        return self._linear(name + "self_attn.o_proj", mixed)

    def _heads(self, name: str, x: Array, heads: int) -> Array:
        """Projected and split up, [heads, length, head width]."""
        return self._linear(name, x).reshape(len(x), heads, -1).transpose(1, 0, 2)

    def _rotated(self, x: Array) -> Array:
        """Number i of the first half and number i of the second are a pair; see __init__."""
        length = x.shape[1]
        cos, sin = self._cos[:length], self._sin[:length]
        first, second = np.split(x, 2, axis=-1)
        turned: Array = np.concatenate(
            (first * cos - second * sin, second * cos + first * sin), axis=-1
        )
        return turned

    def _feed_forward(self, name: str, x: Array) -> Array:
        gate = self._linear(name + "mlp.gate_proj", x)
        # gate * sigmoid(gate); tanh, because exp of a large number overflows
        half = self._dtype.type(0.5)
        gate = gate * (half + half * np.tanh(gate * half))
        return self._linear(name + "mlp.down_proj", gate * self._linear(name + "mlp.up_proj", x))
