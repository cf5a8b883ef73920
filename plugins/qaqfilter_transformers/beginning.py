"""Keys and values of a beginning that sequences share, computed once and forked for each batch."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from qaqfilter_transformers.batch import Batch, examples
from qaqfilter_transformers.head import Head, Part, WholeHead, same

log = logging.getLogger(__name__)

KEPT = 8
"""Beginnings whose keys and values are held: a prompt format has one a likelihood."""


class ForkedLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers says no types
    """A layer's keys and values [1, heads, tokens, width], before those of any batch.

    Nothing of the batch is stored, so the memory is that of one layer at a time.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys: Tensor = keys
        self.values: Tensor = values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The batch's keys and values behind the shared ones."""
        return _behind(self.keys, key_states), _behind(self.values, value_states)


class Beginnings:
    """The beginnings of one model, as caches that transformers takes for the past."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: OrderedDict[tuple[int, ...], Cache] = OrderedDict()
        self.computed = 0  # tokens that went through the model for beginnings

    def past(self, ids: tuple[int, ...]) -> Cache | None:
        """The cache for a beginning, computed when first asked for; None for an empty one."""
        if not ids:
            return None
        if ids not in self._known:
            self._known[ids] = self._compute(ids)
            self.computed += len(ids)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(ids)
        return self._known[ids]

    def _compute(self, ids: tuple[int, ...]) -> Cache:
        # Without a configuration every layer keeps all tokens, those with a sliding window too:
        # their mask looks at positions, so what is out of the window is masked all the same.
        grown: Any = DynamicCache()
        device = self._model.get_input_embeddings().weight.device
        self._model.base_model(
            input_ids=torch.tensor([ids], device=device), past_key_values=grown, use_cache=True
        )
        layers: list[Any] = [ForkedLayer(layer.keys, layer.values) for layer in grown.layers]
        return Cache(layers=layers)


def can_share(model: Any, head: Head) -> bool:
    """Whether a shared beginning gives the model's own likelihoods (some models keep no keys)."""
    if isinstance(head, WholeHead):
        return False
    sequences = examples(model, (12, 7), shared=20)
    device = model.get_input_embeddings().weight.device
    forked, whole = (Batch.of(sequences, device, share=share) for share in (True, False))
    assert forked is not None
    assert whole is not None
    try:
        got = head.logprobs([Part(forked, Beginnings(model).past(forked.beginning))])
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, ValueError, LookupError, RuntimeError) as error:
        log.info("%s shares no beginnings: %s", type(model).__name__, error)
        return False
    return same(got, head.logprobs([Part(whole)]), model.dtype)


def _behind(shared: Tensor, own: Tensor) -> Tensor:
    return torch.cat([shared.expand(len(own), -1, -1, -1), own], dim=-2)
