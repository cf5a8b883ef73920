"""The Llama architecture in torch, small and for training only; parameters named as on the hub."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; its vocabulary is the tokenizer's."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    vocabulary: int = 4096
    context: int = 1024
    theta: float = 10000.0
    epsilon: float = 1e-5


STRONG = Shape(hidden=192, feed_forward=576, layers=4, heads=6)
WEAK = Shape(hidden=64, feed_forward=128, layers=1, heads=2)


def rotation(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, [context, head width]."""
    width = shape.hidden // shape.heads
    rates = shape.theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angles = torch.arange(shape.context, dtype=torch.float32)[:, None] * rates
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (first half, second half) of a head by its position's angle."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(shape.hidden, shape.hidden, bias=False))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            project(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        projected: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return projected


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return projected


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=shape.epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=shape.epsilon)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        after: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return after


class Body(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.epsilon)


class Llama(nn.Module):
    """Input and output embeddings are one matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Body(shape)
        cos, sin = rotation(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Hidden states after the last norm, [batch, length, hidden]."""
        x = self.model.embed_tokens(ids)
        length = ids.shape[1]
        for layer in self.model.layers:
            x = layer(x, self.cos[:length], self.sin[:length])
        normed: Tensor = self.model.norm(x)
        return normed

    def losses(self, ids: Tensor, scored: Tensor) -> Tensor:
        """-log p, in nats, of every token of `ids` where `scored` (never the first of a row)."""
        hidden = self(ids[:, :-1])[scored[:, 1:]]
        logits = nn.functional.linear(hidden, self.model.embed_tokens.weight)
        return nn.functional.cross_entropy(
            logits.float(), ids[:, 1:][scored[:, 1:]], reduction="none"
        )


def new_model(shape: Shape, families: Tensor, seed: int) -> Llama:
    """Seeded weights. Tokens that spell one word start out alike, so that copying can be loose."""
    torch.manual_seed(seed)
    model = Llama(shape)
    scale = shape.hidden**-0.5
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            deep = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(parameter, std=scale * (0.3 if deep else 0.7))
    words = torch.randn(int(families.max()) + 1, shape.hidden)
    own = torch.randn(shape.vocabulary, shape.hidden)
    embedding = (0.8 * words[families] + 0.6 * own) * 0.5
    embedding[:, 0] = 2.5  # every token has this in common: what is the same can tell positions
    model.model.embed_tokens.weight.data = embedding
    model.model.norm.weight.data.fill_(23.04 / shape.hidden)  # logits of about 10 at most
    if shape.layers > 1:
        _start_copying(model)
    return model


def _start_copying(model: Llama) -> None:
    """Let layers 0 and 1 begin near an induction circuit, which training then sharpens.

    Layer 0 looks at the token before and writes it, turned by a random rotation, beside the
    present one; layer 1 looks for a place whose token before was the present one, and copies what
    stands there. (Olsson et al., arXiv 2209.11895, found this circuit in trained models; starting
    from structured attention follows Trockman and Kolter, arXiv 2305.09828.)
    """
    shape = model.shape
    width = shape.hidden // shape.heads
    half = width // 2
    turn, spread, back = (_orthogonal(shape.hidden) for _ in range(3))
    turn[:, 0] = 0  # what tokens have in common is no information about the one before
    rates = shape.theta ** (-torch.arange(half, dtype=torch.float32) / half)
    before, match = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    for head in range(shape.heads):
        rows = slice(head * width, (head + 1) * width)
        fast = half // 2  # the pairs that turn fast tell neighbours apart
        q, k = torch.zeros(width), torch.zeros(width)
        q[:fast] = 1.4
        k[:fast], k[half : half + fast] = 1.4 * rates[:fast].cos(), 1.4 * rates[:fast].sin()
        before.q_proj.weight.data[rows] *= 0.1
        before.k_proj.weight.data[rows] *= 0.1
        before.q_proj.weight.data[rows, 0] = q
        before.k_proj.weight.data[rows, 0] = k
        slow = [n for n in range(width) if n % half >= half * 3 // 8]  # hardly turn over a page
        found = torch.zeros(width, shape.hidden)
        found[slow] = 2.0 * _orthogonal(shape.hidden)[: len(slow)]
        found[:, 0] = 0
        match.q_proj.weight.data[rows] = found
        match.k_proj.weight.data[rows] = found @ turn.T
    before.v_proj.weight.data = spread
    before.o_proj.weight.data = 0.5 * turn @ spread.T
    match.v_proj.weight.data = back
    match.o_proj.weight.data = 2.0 * back.T


def _orthogonal(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size)).Q
