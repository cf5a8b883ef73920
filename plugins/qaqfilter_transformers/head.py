"""The output head, applied only where a token is scored, and never to the whole vocabulary at once.

Full logits are [batch, length, vocabulary]: gigabytes for a vocabulary of 262,144. The body's
hidden states are small, so the body runs once, and the head over rows of its states.

A bare `lm_head` would be wrong for families that scale or soft-cap their logits (Gemma 2,
Cohere, Granite); so the family's own forward is *replayed*: its body hands back rows of hidden
states that are already known, and its `lm_head` computes a block of the vocabulary. Blocks are
faster than rows of a whole vocabulary, since the weights are read once for all rows and the
logits stay in the processor's cache:

    log p(t) = x_t − m − log Σ_blocks e^(m_block − m) · Σ_block e^(x − m_block)

`choose_head` proves on a short input that a head gives the model's own likelihoods, padded or
not, and takes the fastest that does: blocks, then whole rows, then the model as it is.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from qaqfilter import BackendError
from qaqfilter_transformers.batch import Batch, examples

log = logging.getLogger(__name__)

CPU_WORDS = 1024
"""Words of a block on a CPU: 8 MiB of logits stay in the cache; 4,096 took a third longer."""
MEMORY_NUMBERS = 2**26
"""Logits held at a time elsewhere: 256 MiB as float32."""
MOST_ROWS = 2048
"""Rows for which the head's weights are read once: with 300 it takes a third longer."""

# Largest difference of log-probabilities, relative to the largest, that rounding explains.
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}


class Head(Protocol):
    """Runs the model on padded batches and gives the likelihoods that they ask for."""

    name: str

    def logprobs(self, parts: Sequence[Part]) -> Tensor:
        """Log-probability (nats, float64, at most 0) of each of the batches' targets, in order."""
        ...


class Part(NamedTuple):
    """A padded batch; `past` is a transformers Cache of what stands before every sequence."""

    batch: Batch
    past: Any = None


class Replayed(NamedTuple):
    """A pass to be replayed: the body's output, without hidden states, and the model's inputs."""

    output: Any
    inputs: dict[str, Any]


class _Replay:
    """The body once a batch; then the family's forward over hidden states that are known."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.body = model.base_model

    def run_bodies(self, parts: Sequence[Part]) -> tuple[Tensor, Tensor, Replayed]:
        """Hidden states [targets, width] at the scored positions, the targets, and a pass."""
        passes = [self._run_body(*part) for part in parts]
        targets = torch.cat([part.batch.targets for part in parts])
        return torch.cat([hidden for hidden, _ in passes]), targets, passes[0][1]

    def _run_body(self, batch: Batch, past: Any) -> tuple[Tensor, Replayed]:
        # No mask: padding stands behind what counts, where a causal model does not look.
        inputs = {"input_ids": batch.ids, "use_cache": False}
        if past is not None:
            inputs["past_key_values"] = past
        run = self.body.forward
        found: list[tuple[Tensor, Any]] = []

        def first(*args: Any, **kwargs: Any) -> Any:
            # Called by the family's own forward, with whatever arguments that passes.
            output = run(*args, **kwargs)
            hidden = output[0][batch.where]
            found.append((hidden, output))
            return _with_hidden(output, hidden[None, :1])

        with _forward_of(self.body, first):
            self.model(**inputs)
        ((hidden, output),) = found
        return hidden, Replayed(_with_hidden(output, hidden[None, :0]), inputs)

    def replay(self, hidden: Tensor, like: Replayed) -> Tensor:
        """Logits [rows, words] of rows of hidden states, by the family's forward, as float32."""
        known = _with_hidden(like.output, hidden[None])
        with _forward_of(self.body, lambda *_args, **_kwargs: known):
            logits: Tensor = self.model(**like.inputs).logits
        if logits.shape[:2] != (1, len(hidden)):
            raise BackendError(f"the head gave {tuple(logits.shape)} for {len(hidden)} rows")
        return logits[0].float()


class BlockHead(_Replay):
    """Computes the head in blocks of the vocabulary, for up to MOST_ROWS rows at a time."""

    name = "blocks"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.layer = model.get_output_embeddings()
        if type(self.layer) is not torch.nn.Linear:
            raise TypeError(f"its head is a {type(self.layer).__name__}")

    def logprobs(self, parts: Sequence[Part]) -> Tensor:
        """See `Head`."""
        hidden, targets, like = self.run_bodies(parts)
        found = [
            _logprobs(self._blocks(rows, like), wanted)
            for rows, wanted in _together(hidden, targets, MOST_ROWS)
        ]
        return torch.cat(found)

    def _blocks(self, rows: Tensor, like: Replayed) -> Iterator[tuple[int, Tensor]]:
        weight, bias = self.layer.weight, self.layer.bias
        on_cpu = rows.device.type == "cpu"
        width = CPU_WORDS if on_cpu else max(1, MEMORY_NUMBERS // len(rows))
        for low in range(0, len(weight), width):
            part = slice(low, low + width)

            def block(states: Tensor, part: slice = part) -> Tensor:
                own = None if bias is None else bias[part]
                return torch.nn.functional.linear(states, weight[part], own)

            with _forward_of(self.layer, block):
                yield low, self.replay(rows, like)


class RowHead(_Replay):
    """Computes whole rows of logits, a few at a time, for heads that are not a plain matrix."""

    name = "rows"

    def logprobs(self, parts: Sequence[Part]) -> Tensor:
        """See `Head`."""
        hidden, targets, like = self.run_bodies(parts)
        count = max(1, MEMORY_NUMBERS // self.model.config.get_text_config().vocab_size)
        found = [
            _logprobs([(0, self.replay(rows, like))], wanted)
            for rows, wanted in _together(hidden, targets, count)
        ]
        return torch.cat(found)


class WholeHead:
    """Runs the whole model on one sequence at a time: right for any model, and slower."""

    name = "whole"

    def __init__(self, model: Any) -> None:
        self.model = model
        self._selects = "logits_to_keep" in inspect.signature(model.forward).parameters

    def logprobs(self, parts: Sequence[Part]) -> Tensor:
        """See `Head`; all scored rows of one sequence exist at once. Takes no `past`."""
        if any(part.past is not None for part in parts):
            raise BackendError("a model that runs whole shares no beginning")
        return torch.cat([logprobs for part in parts for logprobs in self._each(part.batch)])

    def _each(self, batch: Batch) -> Iterator[Tensor]:
        for number, length in enumerate(batch.lengths):
            mine = batch.where[0] == number
            positions = batch.where[1][mine]
            inputs = {"input_ids": batch.ids[number : number + 1, :length], "use_cache": False}
            if self._selects:
                logits = self.model(**inputs, logits_to_keep=positions).logits[0]
            else:
                logits = self.model(**inputs).logits[0, positions]
            if len(logits) != len(positions):
                raise BackendError(f"{len(logits)} rows of logits for {len(positions)} positions")
            yield _logprobs([(0, logits.float())], batch.targets[mine])


def _together(hidden: Tensor, targets: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Hidden states and targets, at most `rows` of each at a time."""
    for start in range(0, len(hidden), rows):
        yield hidden[start : start + rows], targets[start : start + rows]


def _logprobs(blocks: Any, targets: Tensor) -> Tensor:
    """Log-probabilities of `targets` [rows] from (first word, logits [rows, words]) of blocks.

    Overwrites the logits. NaN and +inf in a row give NaN; −inf is a probability of zero.
    """
    chosen = torch.full(targets.shape, -torch.inf, device=targets.device)
    maxima, sums = [], []
    for low, logits in blocks:
        place = targets - low
        inside = (place >= 0) & (place < logits.shape[1])
        own = logits.gather(1, place.clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
        chosen = torch.where(inside, own, chosen)
        # A block of nothing but −inf must not be subtracted from itself.
        highest = logits.amax(1).clamp_(min=torch.finfo(torch.float32).min)
        maxima.append(highest)
        sums.append(logits.sub_(highest[:, None]).exp_().sum(1))
    height = torch.stack(maxima).double()
    top = height.amax(0)
    total = (torch.stack(sums).double() * (height - top).exp()).sum(0)
    return (chosen.double() - top - total.log()).clamp_(max=0.0)  # clamp lets NaN through


def choose_head(model: Any) -> Head:
    """The fastest head that reproduces the model's own likelihoods."""
    reasons = []
    for kind in (BlockHead, RowHead):
        try:
            head = kind(model)
            if head.body is not model and _agrees(model, head):
                return head
            reasons.append("its replayed logits differ from its own")
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
            reasons.append(f"{type(error).__name__}: {error}")
    log.warning(
        "%s runs one sequence at a time, which is slower: its output head cannot be applied "
        "apart from its body (%s)",
        type(model).__name__,
        reasons[-1],
    )
    return WholeHead(model)


def _agrees(model: Any, head: Head) -> bool:
    """Compare on two short sequences, the second padded, with the model's own logits."""
    device = model.get_input_embeddings().weight.device
    batch = Batch.of(examples(model, (12, 7)), device, share=False)
    assert batch is not None
    got = head.logprobs([Part(batch)])
    expected = []
    for number, length in enumerate(batch.lengths):
        own = model(input_ids=batch.ids[number : number + 1, :length], use_cache=False).logits[0]
        mine = batch.where[0] == number
        targets = batch.targets[mine]
        every = own.double().log_softmax(1)[batch.where[1][mine]]
        expected.append(every.gather(1, targets[:, None])[:, 0])
    return same(got, torch.cat(expected), model.dtype)


def same(got: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether log-probabilities differ by no more than rounding in `dtype` explains."""
    if got.shape != expected.shape:
        return False
    scale = max(1.0, float(expected.nan_to_num().abs().max()))
    allowed = _TOLERANCE.get(dtype, 6e-2) * scale
    return bool(torch.allclose(got, expected, rtol=0, atol=allowed, equal_nan=True))


def _with_hidden(output: Any, hidden: Tensor) -> Any:
    """The body's output with other hidden states in their place."""
    if isinstance(output, tuple):
        return (hidden, *output[1:])
    changed = copy.copy(output)
    changed.last_hidden_state = hidden
    return changed


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
