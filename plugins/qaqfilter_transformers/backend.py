"""A causal language model of transformers as a qaqfilter Backend."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

from qaqfilter import BackendError, ModelError, Resources, TokenSequence, Whole, Work
from qaqfilter.batching import check_sequences, token_budget_batches
from qaqfilter.identity import fingerprint
from qaqfilter.types import Floats
from qaqfilter_transformers import TransformersOptions, loading
from qaqfilter_transformers.batch import Batch, deal, examples
from qaqfilter_transformers.beginning import Beginnings, can_share
from qaqfilter_transformers.budget import batch_budget
from qaqfilter_transformers.encoding import Encoder
from qaqfilter_transformers.head import Head, Part, choose_head
from qaqfilter_transformers.memory import free_memory, is_out_of_memory

log = logging.getLogger(__name__)

Spans = tuple[Floats, ...]


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
        loading.check_vocabulary(tokenizer, self._vocabulary, config.model)
        self.max_length = loading.max_length(self._hf_config, config.model, config.max_length)
        self._budget = 0 if config.batch_tokens == "auto" else config.batch_tokens
        self._fits = 0  # most tokens to try at once after an out-of-memory; 0: no limit
        self._work = Work()
        self._device = _device(config.device)
        self._dtype = _dtype(config.dtype, self._device)
        self._model: _Loaded | None = None
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

    def encode_batch(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """What `encode` gives for each text, on all cores."""
        return self._encoder.batch(texts, markup=markup)

    def encode_whole(self, text: str) -> Whole:
        """The ids that transformers' own tokenizer gives by default, special tokens included."""
        return self._encoder.whole(text)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Which characters each token of ``encode(text, markup=False)`` writes."""
        return self._encoder.places(text)

    @property
    def batch_tokens(self) -> int:
        """Most tokens in a batch; `auto` loads the weights and probes."""
        if not self._budget:
            self._budget = batch_budget(self._probe, fingerprint(self.facts), self._device)
        return min(self._budget, self._fits or self._budget)

    @property
    def work(self) -> Work:
        """Tokens computed, reused from a shared beginning, and padding, so far."""
        return self._work

    @property
    def head(self) -> str:
        """How likelihoods are made, ``blocks``, ``rows`` or ``whole`` (see head.py)."""
        return self._loaded().head.name

    @property
    def shares(self) -> bool:
        """Whether a beginning that sequences share is computed once."""
        return self._loaded().shares

    def load(self) -> None:
        """Load the weights now. Raises ModelError."""
        self._loaded()

    def logprobs(self, sequences: Sequence[TokenSequence]) -> list[Spans]:
        """Log-probabilities (nats, float64, at most 0) of each span, given all tokens before.

        A batch that does not fit in memory is halved. Raises
        BackendError, before anything runs, for a sequence that is too long or malformed, and
        where a single sequence does not fit in memory.
        """
        check_sequences(sequences, max_length=self.max_length, vocabulary=self._vocabulary)
        return self._halving(list(sequences)) if sequences else []

    def close(self) -> None:
        """Free the weights now; a later `logprobs` would load them again."""
        self._model = None
        free_memory()

    def _halving(self, sequences: list[TokenSequence]) -> list[Spans]:
        tokens = sum(len(sequence.ids) for sequence in sequences)
        if not self._fits or tokens <= self._fits or len(sequences) == 1:
            try:
                return self._run(sequences)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(sequences) == 1:
                    raise BackendError(
                        f"out of memory on {self._device} with a single sequence of {tokens} "
                        "tokens: lower max_length, take a smaller dtype, model or device"
                    ) from error
            # Outside the handler: its traceback kept the failed batch's tensors alive.
            free_memory()
            self._fits = tokens // 2
            log.warning("out of memory with %d tokens in a batch; halving it", tokens)
        middle = len(sequences) // 2
        return self._halving(sequences[:middle]) + self._halving(sequences[middle:])

    def _run(self, sequences: list[TokenSequence]) -> list[Spans]:
        model = self._loaded()
        lengths = [len(s.ids) - max(0, s.prefix - 1) for s in sequences]
        padded = token_budget_batches(lengths, self.batch_tokens)
        order = [index for part in padded for index in part]
        known = model.beginnings.computed
        with torch.inference_mode():
            batches = [
                Batch.of([sequences[i] for i in part], self._device, share=model.shares)
                for part in padded
            ]
            parts = [Part(b, model.beginnings.past(b.beginning)) for b in batches if b is not None]
            values = model.head.logprobs(parts).cpu().numpy() if parts else np.empty(0)
        # A beginning that had to be computed was not reused by the first who needed it.
        first = model.beginnings.computed - known
        self._work = Work(
            self._work.computed + sum(part.batch.work.computed for part in parts) + first,
            self._work.reused + sum(part.batch.work.reused for part in parts) - first,
            self._work.padding + sum(part.batch.work.padding for part in parts),
        )
        dealt = deal([sequences[index] for index in order], values)
        return [spans for _, spans in sorted(zip(order, dealt, strict=True), key=lambda x: x[0])]

    def _probe(self, tokens: int) -> None:
        """Score a batch of `tokens` tokens as it comes: some sequences, every position."""
        model = self._loaded()
        length = min(128, self.max_length - 1, tokens)
        lengths = [length] * max(1, tokens // length)
        with torch.inference_mode():
            batch = Batch.of(examples(model.weights, lengths), self._device, share=False)
            assert batch is not None
            model.head.logprobs([Part(batch)])

    def _loaded(self) -> _Loaded:
        if self._model is None:
            config = self._config
            weights = loading.load_weights(
                self._folder,
                config.model,
                remote_code=config.trust_remote_code,
                dtype=self._dtype,
                device=self._device,
                attention=config.attention,
            )
            with torch.inference_mode():
                head = choose_head(weights)
                shares = can_share(weights, head)
            self._model = _Loaded(weights, head, Beginnings(weights), shares)
            log.info(
                "%s: %s on %s, output head in %s, %s",
                config.model,
                self._dtype,
                self._device,
                head.name,
                "shared beginnings computed once" if shares else "no shared beginnings",
            )
        return self._model


@dataclass(frozen=True, slots=True)
class _Loaded:
    weights: Any
    head: Head
    beginnings: Beginnings
    shares: bool


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
