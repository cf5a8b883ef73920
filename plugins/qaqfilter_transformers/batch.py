"""Token sequences as one padded batch of tensors, and its results dealt back to the spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qaqfilter import TokenSequence, Work
from qaqfilter.types import Floats

MIN_SHARED = 8
"""Fewest tokens of a shared beginning that are kept apart; fewer cost more than they save."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes through the model, padded on the right.

    Attributes
    ----------
    beginning: ids that stand before every sequence and are not in `ids`.
    ids: [sequences, longest].
    lengths: of each sequence without padding (and without the beginning).
    where: (sequence, position in `ids`) of the hidden states that predict the targets.
    targets: [targets], the tokens to score.
    """

    beginning: tuple[int, ...]
    ids: Tensor
    lengths: tuple[int, ...]
    where: tuple[Tensor, Tensor]
    targets: Tensor

    @classmethod
    def of(
        cls, sequences: Sequence[TokenSequence], device: torch.device | str, *, share: bool
    ) -> Batch | None:
        """The batch that answers these sequences; None where they ask for nothing."""
        scored = [positions_of(sequence) for sequence in sequences]
        alive = [index for index, positions in enumerate(scored) if len(positions)]
        if not alive:
            return None
        cut = _shared([sequences[i] for i in alive], [scored[i] for i in alive]) if share else 0
        # The last scored token is predicted, never read; what follows it changes nothing.
        rows = [sequences[i].ids[cut : int(scored[i][-1])] for i in alive]
        longest = max(map(len, rows))
        # Padded with a token of its own: some models take a pad token for a mistake.
        ids = torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows])
        number = np.repeat(np.arange(len(rows)), [len(scored[i]) for i in alive])
        position = np.concatenate([scored[i] for i in alive]) - 1 - cut
        targets = np.concatenate([np.take(sequences[i].ids, scored[i]) for i in alive])
        return cls(
            sequences[alive[0]].ids[:cut],
            ids.to(device),
            tuple(map(len, rows)),
            (torch.from_numpy(number).to(device), torch.from_numpy(position).to(device)),
            torch.from_numpy(targets).to(device),
        )

    @property
    def work(self) -> Work:
        """What running it costs; the beginning counts as reused."""
        real = sum(self.lengths)
        return Work(real, len(self.beginning) * len(self.lengths), self.ids.numel() - real)


def examples(model: Any, lengths: Sequence[int], shared: int = 0) -> list[TokenSequence]:
    """Sequences for `model` to be tried with, all tokens of their own but the first scored.

    `lengths` are those that `Batch.lengths` will be; `shared` more tokens stand before them all.
    """
    vocabulary = model.config.get_text_config().vocab_size
    same = tuple((7 * place + 3) % vocabulary for place in range(shared))
    made = []
    for number, length in enumerate(lengths):
        own = tuple((7 * place + 31 * number + 1) % vocabulary for place in range(length + 1))
        spans = ((shared + 1, shared + length + 1),)
        made.append(TokenSequence((*same, *own), spans, shared + 1))
    return made


def positions_of(sequence: TokenSequence) -> NDArray[np.int64]:
    """Every scored position once, ascending, however the spans overlap."""
    return np.unique(
        np.concatenate([np.arange(a, b, dtype=np.int64) for a, b in ((0, 0), *sequence.spans)])
    )


def deal(sequences: Sequence[TokenSequence], values: Floats) -> list[tuple[Floats, ...]]:
    """The values of all scored positions, in order, dealt out to the sequences' spans."""
    dealt = []
    done = 0
    for sequence in sequences:
        positions = positions_of(sequence)
        mine = values[done : done + len(positions)]
        done += len(positions)
        dealt.append(
            tuple(
                mine[np.searchsorted(positions, a) : np.searchsorted(positions, b)].copy()
                for a, b in sequence.spans
            )
        )
    return dealt


def _shared(sequences: Sequence[TokenSequence], scored: Sequence[NDArray[np.int64]]) -> int:
    """How many ids all sequences begin with and none scores or needs the states of.

    One less than the prefix: the state at its last token predicts the token behind it.
    """
    first = sequences[0]
    cut = min(s.prefix - 1 for s in sequences)
    cut = min([cut, *(int(positions[0]) - 1 for positions in scored)])
    if cut < MIN_SHARED or any(s.ids[:cut] != first.ids[:cut] for s in sequences):
        return 0
    return cut
