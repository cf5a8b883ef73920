"""The output head, applied only where a token is scored, a few rows at a time.

Full logits are [batch, length, vocabulary]: gigabytes for a vocabulary of 262,144. The body's
hidden states are small, so the body runs once and the head runs over chunks of scored rows.
A bare `lm_head` would be wrong for families that scale or soft-cap their logits (Gemma 2,
Cohere, Granite); so the family's own forward is *replayed*, with its body handing back rows
of hidden states that are already known. `choose_head` proves on a short input that this gives
the model's own logits, padded or not; a model that fails runs whole, one sequence at a time.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from qaqfilter import BackendError

log = logging.getLogger(__name__)

CHUNK_NUMBERS = 2**25
"""Most logits held at a time (rows x vocabulary): 128 MiB as float32."""

# Largest difference of logits, relative to the largest logit, that rounding explains.
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}


class Head(Protocol):
    """Yields logits, chunk by chunk, for chosen positions of a padded batch."""

    name: str

    def logits(
        self, ids: Tensor, mask: Tensor, where: tuple[Tensor, Tensor], rows: int
    ) -> Iterator[Tensor]:
        """Chunks [at most `rows`, vocabulary] of the logits at ``where = (sequence, position)``.

        `ids` and `mask` are [batch, length], padded on the right; `where` is ascending.
        """
        ...


class ReplayHead:
    """Runs the body once for the batch, then the family's own head over chunks of rows."""

    name = "replay"

    def __init__(self, model: Any) -> None:
        self.model = model

    def logits(
        self, ids: Tensor, mask: Tensor, where: tuple[Tensor, Tensor], rows: int
    ) -> Iterator[Tensor]:
        """See `Head`."""
        body = self.model.base_model
        run_body = body.forward
        total = len(where[0])
        hidden: Tensor | None = None
        output: Any = None

        def first(*args: Any, **kwargs: Any) -> Any:
            # Called by the family's own forward, with whatever arguments that passes.
            nonlocal hidden, output
            output = run_body(*args, **kwargs)
            hidden = output[0][where]  # [scored rows, hidden size]: the rest may be freed
            output = _with_hidden(output, hidden[None, :rows])
            return output

        for start in range(0, total, rows):
            count = min(rows, total - start)
            if hidden is None:
                stand_in: Callable[..., Any] = first
            else:
                known = _with_hidden(output, hidden[None, start : start + rows])
                stand_in = _constant(known)
            with _forward_of(body, stand_in):
                result = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            if result.shape[:2] != (1, count):
                raise BackendError(f"the head gave {tuple(result.shape)} logits for {count} rows")
            yield result[0]


class WholeHead:
    """Runs the whole model on one sequence at a time: right for any model, and slower."""

    name = "whole"

    def __init__(self, model: Any) -> None:
        self.model = model
        self._selects = "logits_to_keep" in inspect.signature(model.forward).parameters

    def logits(
        self, ids: Tensor, mask: Tensor, where: tuple[Tensor, Tensor], rows: int
    ) -> Iterator[Tensor]:
        """See `Head`; all scored rows of one sequence exist at once, before they are chunked."""
        lengths = mask.sum(dim=1).tolist()
        for sequence, length in enumerate(lengths):
            positions = where[1][where[0] == sequence]
            if not len(positions):
                continue
            one = slice(sequence, sequence + 1), slice(0, length)
            inputs = {"input_ids": ids[one], "attention_mask": mask[one], "use_cache": False}
            if self._selects:
                result = self.model(**inputs, logits_to_keep=positions).logits[0]
            else:
                result = self.model(**inputs).logits[0, positions]
            if len(result) != len(positions):
                raise BackendError(f"{len(result)} rows of logits for {len(positions)} positions")
            yield from result.split(rows)


def choose_head(model: Any) -> Head:
    """The replaying head where it reproduces the model's own logits, else the whole model."""
    replay = ReplayHead(model)
    try:
        if model.base_model is not model and _agrees(model, replay):
            return replay
        reason = "its replayed logits differ from its own"
    except torch.OutOfMemoryError:
        raise
    except (
        AttributeError,
        TypeError,
        ValueError,
        LookupError,
        RuntimeError,
        BackendError,
    ) as error:
        reason = f"{type(error).__name__}: {error}"
    log.warning(
        "%s runs one sequence at a time, which is slower: its output head cannot be applied "
        "apart from its body (%s)",
        type(model).__name__,
        reason,
    )
    return WholeHead(model)


def _agrees(model: Any, head: Head) -> bool:
    """Compare on two short sequences, the second padded, in chunks that straddle them."""
    device = model.get_input_embeddings().weight.device
    vocabulary = model.config.get_text_config().vocab_size
    ids = (torch.arange(24, device=device).reshape(2, 12) * 7 + 1) % vocabulary
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    sequence, position = mask.nonzero(as_tuple=True)
    got = torch.cat(list(head.logits(ids, mask, (sequence, position), 5))).float()
    whole = [
        model(input_ids=ids[:1], use_cache=False),
        model(input_ids=ids[1:, :7], use_cache=False),
    ]
    expected = torch.cat([output.logits[0] for output in whole]).float()
    if got.shape != expected.shape:
        return False
    scale = max(1.0, float(expected.nan_to_num().abs().max()))
    allowed = _TOLERANCE.get(model.dtype, 6e-2) * scale
    return bool(torch.allclose(got, expected, rtol=0, atol=allowed, equal_nan=True))


def _with_hidden(output: Any, hidden: Tensor) -> Any:
    """The body's output with other hidden states in their place."""
    if isinstance(output, tuple):
        return (hidden, *output[1:])
    changed = copy.copy(output)
    changed.last_hidden_state = hidden
    return changed


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *_args, **_kwargs: value


@contextmanager
def _forward_of(module: torch.nn.Module, stand_in: Callable[..., Any]) -> Iterator[None]:
    """Let `stand_in` be the module's forward for a while."""
    own = vars(module)
    before = own.get("forward")
    own["forward"] = stand_in
    try:
        yield
    finally:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before
