"""A causal language model of transformers as a qaqfilter Backend."""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from qaqfilter import BackendError, ModelError, Resources, TokenSequence
from qaqfilter.batching import check_sequences
from qaqfilter_transformers import TransformersOptions, head, loading
from qaqfilter_transformers.encoding import Encoder

log = logging.getLogger(__name__)

Spans = tuple[np.ndarray[Any, np.dtype[np.float64]], ...]


class TransformersBackend:
    """Implements `qaqfilter.Backend`. Weights are loaded at the first call of `logprobs`.

    Raises ModelError for a model that cannot be loaded whole and unaltered.
    """

    def __init__(self, config: TransformersOptions, resources: Resources) -> None:
        self._config = config
        files = resources.model_files(config.model, config.revision)
        self._folder = loading.folder_of(files, config.model)
        remote_code = config.trust_remote_code
        if remote_code:
            log.warning("%s: trust_remote_code is on; the model's own code runs", config.model)
        self._hf_config = loading.load_config(self._folder, config.model, remote_code=remote_code)
        tokenizer = loading.load_tokenizer(self._folder, config.model, remote_code=remote_code)
        start = loading.start_token(tokenizer, self._folder)
        if start is None:
            raise ModelError(f"{config.model}: its tokenizer names neither a BOS nor an EOS token")
        self.start_token, rule = start
        self.adds_start = tokenizer("a")["input_ids"][0] == self.start_token
        self.chat_template = loading.chat_template(tokenizer, config.model)
        description = tokenizer.backend_tokenizer.to_str()
        template = self.chat_template.source if self.chat_template else None
        self._encoder = Encoder(description, template)
        self._vocabulary = int(self._hf_config.get_text_config().vocab_size)
        self.max_length = loading.max_length(self._hf_config, config.model, config.max_length)
        self.batch_tokens = config.batch_tokens
        self._fits = 0  # most cells (batch x length) to try after an out-of-memory; 0: no limit
        self._device = _device(config.device)
        self._dtype = _dtype(config.dtype, self._device)
        self._head: head.Head | None = None
        self.facts: Mapping[str, object] = {
            "backend": "transformers",
            "model": files.digest,
            "revision": config.revision,
            "dtype": self._dtype,
            "device": torch.device(self._device).type,
            "attention": config.attention,
            "tokenizer": hashlib.blake2b(description.encode(), digest_size=16).hexdigest(),
            "start": f"{self.start_token} ({rule})",
            "trust_remote_code": remote_code,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        }

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """Token ids of one segment: no BOS, no dummy space; special tokens only in markup."""
        return self._encoder(text, markup=markup)

    @property
    def head_path(self) -> str:
        """How logits are made, ``replay`` or ``whole`` (see head.py); loads the weights."""
        return self._loaded().name

    def logprobs(self, sequences: Sequence[TokenSequence]) -> list[Spans]:
        """Log-probabilities (nats, float64, at most 0) of each span, given all tokens before.

        The sequences are one padded batch; one that does not fit in memory is halved. Raises
        BackendError, before anything runs, for a sequence that is too long or malformed, and
        where a single sequence does not fit in memory.
        """
        check_sequences(sequences, max_length=self.max_length, vocabulary=self._vocabulary)
        return self._halving(list(sequences)) if sequences else []

    def close(self) -> None:
        """Free the weights now; a later `logprobs` would load them again."""
        self._head = None
        _free_memory()

    def _halving(self, batch: list[TokenSequence]) -> list[Spans]:
        cells = len(batch) * max(len(sequence.ids) for sequence in batch)
        if not self._fits or cells <= self._fits or len(batch) == 1:
            try:
                return self._run(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise BackendError(
                        f"out of memory on {self._device} with a single sequence of {cells} "
                        "tokens: lower max_length, take a smaller dtype, model or device"
                    ) from error
            # Outside the handler: its traceback kept the failed batch's tensors alive.
            _free_memory()
            self._fits = cells // 2
            log.warning("out of memory with %d tokens in a batch; halving it", cells)
        middle = len(batch) // 2
        return self._halving(batch[:middle]) + self._halving(batch[middle:])

    def _run(self, batch: list[TokenSequence]) -> list[Spans]:
        scored = [_positions(sequence) for sequence in batch]
        # The last scored token is predicted, never read; what follows it changes nothing.
        lengths = [int(positions[-1]) if len(positions) else 0 for positions in scored]
        alive = [row for row, length in enumerate(lengths) if length]
        if not alive:
            return [_cut(sequence, np.empty(0)) for sequence in batch]
        ids = torch.zeros((len(alive), max(lengths)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, source in enumerate(alive):
            ids[row, : lengths[source]] = torch.tensor(batch[source].ids[: lengths[source]])
            mask[row, : lengths[source]] = 1
        rows = np.concatenate([np.full(len(scored[s]), row) for row, s in enumerate(alive)])
        columns = np.concatenate([scored[source] - 1 for source in alive])
        targets = np.concatenate([np.take(batch[s].ids, scored[s]) for s in alive])
        values = self._token_logprobs(ids, mask, rows, columns, targets)
        counts = [len(positions) for positions in scored]
        pieces = np.split(values, np.cumsum(counts)[:-1])
        return [
            _cut(sequence, piece, positions)
            for sequence, piece, positions in zip(batch, pieces, scored, strict=True)
        ]

    @torch.inference_mode()
    def _token_logprobs(
        self, ids: Any, mask: Any, rows: Any, columns: Any, targets: Any
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """One float64 a scored token: logit of the target minus log-sum-exp, in float32."""
        model_head = self._loaded()
        device = torch.device(self._device)
        where = (torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device))
        wanted = torch.from_numpy(targets).to(device)
        step = max(1, head.CHUNK_NUMBERS // self._vocabulary)
        out, done = [], 0
        for chunk in model_head.logits(ids.to(device), mask.to(device), where, step):
            logits = chunk.float()
            target = wanted[done : done + len(logits), None]
            done += len(logits)
            value = logits.gather(1, target)[:, 0] - torch.logsumexp(logits, dim=1)
            out.append(value.clamp(max=0.0).cpu())  # clamp lets NaN through
            del chunk, logits  # before the next chunk is made
        return torch.cat(out).double().numpy()

    def _loaded(self) -> head.Head:
        if self._head is None:
            config = self._config
            model = loading.load_weights(
                self._folder,
                config.model,
                remote_code=config.trust_remote_code,
                dtype=self._dtype,
                device=self._device,
                attention=config.attention,
            )
            with torch.inference_mode():
                self._head = head.choose_head(model)
            log.info("%s on %s, head: %s", config.model, self._device, self._head.name)
        return self._head


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory; on MPS and the CPU only the message tells."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def _positions(sequence: TokenSequence) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Every scored position once, ascending, however the spans overlap."""
    return np.unique(
        np.concatenate([np.arange(a, b, dtype=np.int64) for a, b in ((0, 0), *sequence.spans)])
    )


def _cut(sequence: TokenSequence, values: Any, positions: Any = ()) -> Spans:
    """Deal the values of the scored positions out to the spans."""
    return tuple(
        values[np.searchsorted(positions, a) : np.searchsorted(positions, b)].copy()
        for a, b in sequence.spans
    )


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(asked: str, device: str) -> str:
    if asked != "auto":
        return asked
    return "bfloat16" if device.startswith("cuda") else "float32"


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
