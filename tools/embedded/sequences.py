"""Token sequences to learn from, and which of their tokens count.

A pair is laid out as the plain prompt lays it out: BOS, the first segment, the ids of a newline,
the second segment, each tokenised on its own.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

BOS = 0
SPECIAL = 2


Ids: TypeAlias = "array[int]"  # of unsigned shorts: 4,096 tokens fit


class Example(NamedTuple):
    """`weights[i]` says how much predicting `ids[i]` counts."""

    ids: list[int]
    weights: list[float]


class Tokenised(NamedTuple):
    """A pair in tokens; `summary` is the first paragraph of the docstring."""

    query: Ids
    summary: Ids
    answer: Ids


class Words(NamedTuple):
    """Families of tokens that spell one word: `value`, ` value`, `Value`, ` Value`."""

    spaced: list[int]
    variants: list[list[int]]


def word_families(tokenizer: Tokenizer) -> tuple[NDArray[np.int64], Words]:
    """The family of every token, and the families that hold a form with a space before it."""
    stems: dict[str, int] = {}
    family = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    members: dict[str, list[tuple[str, int]]] = {}
    for token, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        stem = token.removeprefix("Ġ").lower()
        stem = stem if stem.isalpha() else token
        family[number] = stems.setdefault(stem, len(stems))
        if stem.isalpha() and len(stem) > 2:
            members.setdefault(stem, []).append((token, number))
    spaced, variants = [], []
    for found in members.values():
        forms = [number for _, number in found]
        for token, number in found:
            if token.startswith("Ġ") and token[1:].islower():
                spaced.append(number)
                variants.append(forms)
    return family, Words(spaced, variants)


def copying(draw: random.Random, vocabulary: int, length: int) -> Example:
    """Random tokens, a stretch of which comes again; only what is repeated counts."""
    ids, weights = [BOS], [0.0]

    def add(tokens: Sequence[int], weight: float) -> None:
        ids.extend(tokens)
        weights.extend([weight] * len(tokens))

    while len(ids) < length:
        span = [draw.randrange(SPECIAL, vocabulary) for _ in range(draw.randint(6, length // 3))]
        add(span, 0.0)
        for _ in range(draw.randint(1, 2)):
            add([draw.randrange(SPECIAL, vocabulary) for _ in range(draw.randint(0, 12))], 0.0)
            start = draw.randrange(max(1, len(span) - 5))
            add(span[start : start + 1], 0.0)  # nobody can know where the repetition begins
            add(span[start + 1 :], 1.0)
    return Example(ids[:length], weights[:length])


def shuffled_words(draw: random.Random, words: Words, newline: int) -> Example:
    """Some words, then some of the same in another order and spelling; those count.

    This is what a docstring has in common with the names in its function, and nothing else.
    """
    chosen = draw.sample(range(len(words.spaced)), draw.randint(8, 60))
    first = [draw.choice(words.variants[n]) for n in chosen]
    second = [words.spaced[n] for n in draw.sample(chosen, draw.randint(4, len(chosen)))]
    ids = [BOS, *first, newline, *second]
    return Example(ids, [0.0] * (len(first) + 2) + [1.0] * len(second))


class Mixture:
    """The second phase: an endless stream of pairs both ways round, plain code and copying."""

    def __init__(
        self,
        *,
        pairs: Sequence[Tokenised],
        code: Sequence[Ids],
        words: Words,
        newline: list[int],
        vocabulary: int,
        seed: int,
    ) -> None:
        self._pairs, self._code, self._words = pairs, code, words
        self._newline, self._vocabulary = newline, vocabulary
        self._seed = seed

    def examples(self, epoch: int) -> Iterator[Example]:
        """One pass over the pairs, in an order of its own."""
        draw = random.Random(f"{self._seed}:{epoch}")
        order = list(range(len(self._pairs)))
        draw.shuffle(order)
        for n in order:
            yield self._pair(draw, self._pairs[n])
            if draw.random() < 0.06:
                ids = [BOS, *draw.choice(self._code)][:400]
                yield Example(ids, [0.0] + [1.0] * (len(ids) - 1))
            if draw.random() < 0.06:
                yield copying(draw, self._vocabulary, draw.randint(48, 200))
            if draw.random() < 0.06:
                yield self._natural_copy(draw)

    def _pair(self, draw: random.Random, pair: Tokenised) -> Example:
        # Summaries are what most docstrings of the world are; the rest is often formulaic.
        query = pair.query if draw.random() < 0.4 else pair.summary
        query = query[:300]
        longest = 700 if draw.random() < 0.06 else 300
        answer = pair.answer[:longest]
        if draw.random() < 0.7:
            counts = 1.0 if draw.random() < 0.2 else 0.0
            ids = [BOS, *answer, *self._newline, *query]
            before = len(ids) - len(query) - 1
            return Example(ids, [0.0] + [counts] * before + [1.0] * len(query))
        ids = [BOS, *query, *self._newline, *answer]
        return Example(ids, [0.0] + [1.0] * (len(ids) - 1))

    def _natural_copy(self, draw: random.Random) -> Example:
        """Stretches of docstrings or code, two of which come again in a random place."""
        pool = [draw.choice(self._pairs) for _ in range(3)]
        spans = []
        for pair in pool:
            text = draw.choice((pair.query, pair.answer))
            start = draw.randrange(max(1, len(text) - 20))
            spans.append(text[start : start + draw.randint(8, 60)])
        ids = [BOS, *(token for span in spans for token in span)]
        weights = [0.0] * len(ids)
        for span in draw.sample(spans, 2):
            ids += [*self._newline, *span]
            weights += [0.0] * (len(self._newline) + 1) + [1.0] * (len(span) - 1)
        return Example(ids[:400], weights[:400])


def batches(
    examples: Iterator[Example], tokens: int, draw: random.Random
) -> Iterator[list[Example]]:
    """Examples of like length together, at most `tokens` with padding; the order is shuffled."""
    while True:
        pool = [example for _, example in zip(range(600), examples, strict=False)]
        if not pool:
            return
        pool.sort(key=lambda example: len(example.ids))
        ready: list[list[Example]] = [[]]
        for example in pool:
            if (len(ready[-1]) + 1) * len(example.ids) > tokens and ready[-1]:
                ready.append([])
            ready[-1].append(example)
        draw.shuffle(ready)
        yield from ready
