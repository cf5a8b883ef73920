"""The backend: sequences in, log-probabilities out, over llama.cpp's low-level interface."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import llama_cpp
import numpy as np

from qaqfilter import BackendError, ChatTemplate, ModelError, Resources, TokenSequence, Whole, Work
from qaqfilter.types import Floats
from qaqfilter_llamacpp import LlamaCppOptions
from qaqfilter_llamacpp.decoder import CHUNK, GROUP, Decoder
from qaqfilter_llamacpp.library import Interruptible, complaints, initialise, versions
from qaqfilter_llamacpp.logsoftmax import token_logprobs
from qaqfilter_llamacpp.machine import usable_cores
from qaqfilter_llamacpp.vocabulary import Vocabulary, model_parameters

logger = logging.getLogger(__name__)

_DEFAULT_CONTEXT = 4096


class LlamaCppBackend:
    """A GGUF model. Its vocabulary is read at once, its weights when scores are first asked for.

    Raises ModelError where the file is missing, broken, not causal, or not what the options say.
    """

    batch_tokens = 1024
    """Sequences are computed one by one whatever this is; it paces progress and saving."""

    def __init__(self, config: LlamaCppOptions, resources: Resources) -> None:
        files = resources.model_files(config.model, config.revision).as_gguf()
        if files.format != "gguf":
            raise ModelError(
                f"{config.model}: llamacpp reads GGUF files and this is {files.format}; "
                "name a GGUF file (hf:org/name/file.gguf), or write `use: transformers`"
            )
        self._config = config
        self._files = files
        self._decoder: Decoder | None = None
        self._model: Any = None
        # Held while something is tokenised, and while the model it is tokenised with is replaced.
        self._swapping = threading.Lock()
        initialise()
        if config.n_gpu_layers and not llama_cpp.llama_supports_gpu_offload():
            raise ModelError(
                f"{config.model}: n_gpu_layers is {config.n_gpu_layers}, but this build of "
                "llama-cpp-python has no GPU support; reinstall it with that, or set "
                "n_gpu_layers: 0"
            )
        self._runner = Interruptible()
        try:
            self._model = self._load(vocab_only=True)
            self._vocabulary = Vocabulary(self._model, files.path)
            self._check_causal()
            self.start_token = self._start_token()
            self.adds_start = self._vocabulary.adds_bos
            self.max_length = self._max_length()
            # Both are made now, so that they can still be read after close().
            self.facts: Mapping[str, object] = self._facts()
            self.chat_template = self._chat_template()
        except BaseException:
            self.close()
            raise

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """Token ids of one segment: no BOS, no dummy space; special tokens only in markup.

        May be called on another thread while `logprobs` runs.
        Raises BackendError for text that is not Unicode (half a surrogate pair).
        """
        with self._swapping:
            self._check_open()
            return self._vocabulary.encode(text, markup=markup)

    def encode_whole(self, text: str) -> Whole:
        """The ids that llama.cpp gives by default, special tokens included; no `starts`.

        But for the dummy space that some tokenizers put first: there is none here.

        Raises BackendError as `encode` does.
        """
        with self._swapping:
            self._check_open()
            return self._vocabulary.encode_whole(text)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Which characters each token of ``encode(text, markup=False)`` writes.

        Raises BackendError as `encode` does, and where the tokens do not spell the text.
        """
        with self._swapping:
            self._check_open()
            return self._vocabulary.places(text)

    def load(self) -> None:
        """Load the weights now. Raises ModelError."""
        self._check_open()
        if self._decoder is None:
            self._open_decoder()

    def logprobs(self, sequences: Sequence[TokenSequence]) -> list[tuple[Floats, ...]]:
        """Log-probabilities (nats, ≤ 0, NaN from the model stays NaN) of the spans' tokens.

        Raises BackendError for a sequence that is too long, an id outside the vocabulary, or a
        span outside positions 1 to the end; nothing is computed then.
        """
        self._check_open()
        for sequence in sequences:
            self._check(sequence)
        decoder = self._decoder or self._open_decoder()
        # In this order neighbours share the longest beginnings, which are then computed once.
        order = sorted(range(len(sequences)), key=lambda index: sequences[index].ids)
        found = {index: self._score(decoder, sequences[index]) for index in order}
        return [found[index] for index in range(len(sequences))]

    @property
    def work(self) -> Work:
        """Positions computed, reused, and decoded only to fill up a group of 8, so far.

        Positions behind the last scored token are none of these: they are never computed.
        """
        return self._decoder.work if self._decoder is not None else Work()

    def close(self) -> None:
        """Free context, batch and model now. May be called again."""
        self._runner.close()  # first: a call that Ctrl-C left behind must not lose its memory
        if self._decoder is not None:
            self._decoder.close()
        with self._swapping:
            if self._model:
                llama_cpp.llama_model_free(self._model)
                self._model = None

    def _score(self, decoder: Decoder, sequence: TokenSequence) -> tuple[Floats, ...]:
        ids = sequence.ids
        scored = np.zeros(len(ids), dtype=np.bool_)
        for start, end in sequence.spans:
            scored[start:end] = True
        result = np.full(len(ids), np.nan)
        # The logits at a position predict the token behind it.
        for positions, rows in decoder.rows(ids, np.flatnonzero(scored) - 1):
            targets = positions + 1
            result[targets] = token_logprobs(rows, [ids[target] for target in targets])
        if np.isnan(result[scored]).any():
            decoder.forget()
        return tuple(result[start:end].copy() for start, end in sequence.spans)

    def _check(self, sequence: TokenSequence) -> None:
        length = len(sequence.ids)
        if length > self.max_length:
            raise BackendError(
                f"a sequence of {length} tokens, where {self._files.path.name} takes at most "
                f"{self.max_length}; raise n_ctx or drop long records"
            )
        if length and not (min(sequence.ids) >= 0 and max(sequence.ids) < self._vocabulary.size):
            raise BackendError(
                f"a sequence holds a token outside 0 to {self._vocabulary.size - 1}, the "
                f"vocabulary of {self._files.path.name}: was it encoded for another model?"
            )
        for start, end in sequence.spans:
            if not 1 <= start <= end <= length:
                raise BackendError(
                    f"span ({start}, {end}) in a sequence of {length} tokens: spans lie in 1 to "
                    "the length, since the first token has nothing before it"
                )

    def _load(self, *, vocab_only: bool) -> Any:
        path = self._files.path
        stop = llama_cpp.llama_progress_callback(lambda _progress, _data: not self._runner.stopping)
        parameters = model_parameters(
            vocab_only=vocab_only,
            n_gpu_layers=self._config.n_gpu_layers,
            progress_callback=stop,
        )
        model = self._runner.call(
            llama_cpp.llama_model_load_from_file, os.fsencode(path), parameters
        )
        if not model:
            raise ModelError(
                f"{path}: llama.cpp cannot load this file: {complaints()}; fetch the file again, "
                "or update llama-cpp-python if the model is newer than it"
            )
        return model

    def _open_decoder(self) -> Decoder:
        """Load the weights in place of the bare vocabulary, and say what will compute."""
        model = self._load(vocab_only=False)
        with self._swapping:
            llama_cpp.llama_model_free(self._model)
            self._model, self._vocabulary = model, Vocabulary(model, self._files.path)
        threads = self._config.threads or usable_cores()
        self._decoder = Decoder(
            model,
            self._runner,
            longest=self.max_length,
            shortest=self.max_length if self._long_context else 0,
            threads=threads,
            kv_type=self._config.kv_type,
            gpu=self._config.n_gpu_layers != 0,
            vocabulary=self._vocabulary.size,
        )
        logger.info(
            f"{self._files.path.name}: {self._vocabulary.description}, "
            f"{threads} thread{'s' * (threads > 1)}, chunks of {CHUNK}, context of up to "
            f"{self.max_length} tokens, {self._config.kv_type} cache that grows as needed"
        )
        return self._decoder

    @property
    def _long_context(self) -> bool:
        """Some models (Phi 3) change their position encoding with the size of the context."""
        original = self._vocabulary.number("rope.scaling.original_context_length")
        return original is not None and self.max_length > original

    def _facts(self) -> dict[str, object]:
        """Everything that moves a number; n_ctx and threads do not (tested)."""
        return {
            "weights": self._files.digest,
            "file_type": self._vocabulary.metadata("general.file_type"),
            **versions(),
            "flash_attention": False,
            "kv_type": self._config.kv_type,
            "n_gpu_layers": self._config.n_gpu_layers,
            "chunk": f"{CHUNK} in groups of {GROUP}, one sequence at a time",
            "start_token": self.start_token,
            "adds_start": self.adds_start,
            "long_context": self._long_context,
        }

    def _chat_template(self) -> ChatTemplate | None:
        """The template in the file's metadata, or None."""
        words = self._vocabulary
        if words.template is None:
            return None
        bos, eos = words.text(words.bos), words.text(words.eos)
        return ChatTemplate(words.template, bos, eos, f"metadata of {self._files.path.name}")

    def _check_causal(self) -> None:
        if not self._vocabulary.causal:
            raise ModelError(
                f"{self._files.path}: this model does not predict each token from those before "
                "it (it is an encoder or a diffusion model), so it gives no likelihoods; use a "
                "causal language model"
            )

    def _start_token(self) -> int:
        for token in (self._vocabulary.bos, self._vocabulary.eos):
            if 0 <= token < self._vocabulary.size:
                return token
        raise ModelError(
            f"{self._files.path}: the vocabulary has neither a BOS nor an EOS token to begin a "
            "sequence with; use a model that has one"
        )

    def _max_length(self) -> int:
        trained = self._vocabulary.number("context_length") or _DEFAULT_CONTEXT
        if self._config.n_ctx is None:
            return min(trained, _DEFAULT_CONTEXT)
        if self._config.n_ctx > trained:
            raise ModelError(
                f"{self._files.path}: n_ctx is {self._config.n_ctx}, but the model was trained "
                f"on at most {trained} tokens; set n_ctx: {trained} or less"
            )
        return self._config.n_ctx

    def _check_open(self) -> None:
        if not self._model:
            raise BackendError(f"{self._files.path.name}: this backend has been closed")
