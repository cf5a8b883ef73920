"""How good a model is: likelihoods of pairs, perplexity, and RMI against damaged answers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embedded.model import Llama
from embedded.sequences import BOS, Example
from embedded.training import padded

Floats = NDArray[np.float64]
Texts = Sequence[tuple[str, str]]


def mean_losses(model: Llama, examples: Sequence[Example], tokens: int = 8192) -> Floats:
    """Mean -log p, nats, of each example's weighted tokens."""
    order = sorted(range(len(examples)), key=lambda n: len(examples[n].ids))
    found = np.zeros(len(examples))
    rows: list[int] = []
    with torch.inference_mode():
        for place, n in enumerate(order):
            rows.append(n)
            after = len(examples[order[place + 1]].ids) if place + 1 < len(order) else 0
            if after and (len(rows) + 1) * after <= tokens:
                continue
            ids, weights = padded([examples[row] for row in rows])
            scored = weights > 0
            losses = model.losses(ids, scored)
            sums = torch.zeros(len(rows)).index_add_(0, scored.nonzero()[:, 0], losses)
            found[rows] = (sums / scored.sum(1)).numpy()
            rows = []
    return found


class Likelihoods(NamedTuple):
    """Mean -log p, nats per token, of each pair's two sides."""

    query: Floats
    query_given_answer: Floats
    answer: Floats
    answer_given_query: Floats

    @property
    def rmi(self) -> Floats:
        return self.query - self.query_given_answer


def likelihoods(model: Llama, tokenizer: Tokenizer, pairs: Texts) -> Likelihoods:
    """Of each pair, in the plain prompt's layout. Empty sides are not allowed."""
    newline = tokenizer.encode("\n").ids
    sides = [(tokenizer.encode(query).ids, tokenizer.encode(answer).ids) for query, answer in pairs]

    def scored(context: list[int], target: list[int]) -> Example:
        before = [BOS, *context, *(newline if context else [])]
        return Example([*before, *target], [0.0] * len(before) + [1.0] * len(target))

    return Likelihoods(
        mean_losses(model, [scored([], query) for query, _ in sides]),
        mean_losses(model, [scored(answer, query) for query, answer in sides]),
        mean_losses(model, [scored([], answer) for _, answer in sides]),
        mean_losses(model, [scored(query, answer) for query, answer in sides]),
    )


def fitting(tokenizer: Tokenizer, pairs: Texts, longest: int) -> list[tuple[str, str]]:
    """Those whose two sides, BOS and newline are at most `longest` tokens."""
    return [
        (query, answer)
        for query, answer in pairs
        if len(tokenizer.encode(query).ids) + len(tokenizer.encode(answer).ids) + 2 <= longest
    ]


def swapped(pairs: Texts) -> list[tuple[str, str]]:
    """Each query with the next one's answer."""
    return [(query, pairs[(n + 1) % len(pairs)][1]) for n, (query, _) in enumerate(pairs)]


def echoed(pairs: Texts) -> list[tuple[str, str]]:
    """Each answer is the query."""
    return [(query, query) for query, _ in pairs]


def cut(pairs: Texts) -> list[tuple[str, str]]:
    """Each answer ends after a fifth of its characters."""
    return [(query, answer[: max(1, len(answer) // 5)]) for query, answer in pairs]


def auc(higher: Floats, lower: Floats) -> float:
    """Share of (higher, lower) couples in that order; ties count half (Mann and Whitney)."""
    above = (higher[:, None] > lower[None, :]).mean()
    return float(above + 0.5 * (higher[:, None] == lower[None, :]).mean())


def damage_aucs(model: Llama, tokenizer: Tokenizer, pairs: Texts, each: int) -> dict[str, float]:
    """AUC of RMI: the first half of `pairs` as it is, against `each` of the rest per damage."""
    clean, rest = pairs[: -3 * each], pairs[-3 * each :]
    good = likelihoods(model, tokenizer, clean).rmi
    damaged = {
        "swapped": swapped(rest[:each]),
        "echoed": echoed(rest[each : 2 * each]),
        "cut": cut(rest[2 * each :]),
    }
    rmi = {name: likelihoods(model, tokenizer, found).rmi for name, found in damaged.items()}
    return {
        "rmi_clean": float(np.median(good)),
        **{f"rmi_{name}": float(np.median(values)) for name, values in rmi.items()},
        "auc_swapped": auc(good, rmi["swapped"]),
        "auc_echoed_high": auc(rmi["echoed"], good),
        "auc_cut": auc(good, rmi["cut"]),
    }


def perplexities(model: Llama, tokenizer: Tokenizer, pairs: Texts) -> dict[str, float]:
    """Per token over all pairs, and bits per byte of UTF-8, of each of the four likelihoods."""
    values = likelihoods(model, tokenizer, pairs)
    found: dict[str, float] = {}
    for name, means in values._asdict().items():
        texts = [pair[0] if name.startswith("query") else pair[1] for pair in pairs]
        counts = np.array([len(tokenizer.encode(text).ids) for text in texts])
        octets = sum(len(text.encode()) for text in texts)
        nats = float((means * counts).sum())
        found[f"ppl_{name}"] = math.exp(nats / counts.sum())
        found[f"bits_per_byte_{name}"] = nats / math.log(2) / octets
    return found


def drawn(pairs: Texts, seed: str) -> list[tuple[str, str]]:
    """In an order of its own."""
    shuffled = list(pairs)
    random.Random(seed).shuffle(shuffled)
    return shuffled
