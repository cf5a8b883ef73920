"""The backend: a folder's configuration, tokenizer and weights around the pass of `llama.py`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from qaqfilter import ChatTemplate, ModelError, Resources, TokenSequence, Whole
from qaqfilter.batching import check_sequences
from qaqfilter.types import Floats
from qaqfilter_reference import ReferenceOptions
from qaqfilter_reference.llama import Llama, Shape


class ReferenceBackend:
    """Implements `qaqfilter.Backend`, one sequence at a time: neighbours change not a bit.

    Raises ModelError for files that are not what `llama.py` describes.
    """

    batch_tokens = 4096
    """Sequences are computed one by one whatever this is; it paces progress and saving."""

    def __init__(self, config: ReferenceOptions, resources: Resources) -> None:
        files = resources.model_files(config.model, config.revision)
        if files.format != "safetensors":
            raise ModelError(
                f"{config.model}: reference reads folders of safetensors and this is "
                f"{files.format}; write `use: llamacpp`"
            )
        self._name, self._precision = config.model, config.precision
        self._folder = files.path if files.path.is_dir() else files.path.parent
        settings = self._json("config.json")
        self._shape = shape_of(settings, self._name)
        self._tokenizer, self._data = self._tokenizers()
        self.start_token = self._start_token(settings)
        self.adds_start = self._tokenizer.encode("a").ids[:1] == [self.start_token]
        self.max_length = self._shape.context
        self.chat_template = self._chat_template()
        self._model: Llama | None = None
        self.facts: Mapping[str, object] = {
            "backend": "reference",
            "model": files.digest,
            "precision": config.precision,
            "start_token": self.start_token,
        }

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """Token ids of one segment: no BOS, no dummy space; special tokens only in markup."""
        tokenizer = self._tokenizer if markup else self._data
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_whole(self, text: str) -> Whole:
        """The ids that the tokenizer gives by default, special tokens included."""
        encoding = self._tokenizer.encode(text)
        return Whole.of(encoding.ids, encoding.offsets, encoding.special_tokens_mask)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Which characters each token of ``encode(text, markup=False)`` writes."""
        return list(self._data.encode(text, add_special_tokens=False).offsets)

    def memory(self, longest: int) -> int:
        """Bytes: the weights as they are loaded, and the largest arrays of a pass beside them."""
        sizes: dict[str, tuple[int, ...]] = {}
        file_sizes = 0
        for file in self._folder.glob("*.safetensors"):
            file_sizes = max(file_sizes, file.stat().st_size)
            with safe_open(file, "np") as tensors:
                sizes |= {
                    name: tuple(tensors.get_slice(name).get_shape())
                    for name in list(tensors.keys())
                }
        number = np.dtype(self._precision).itemsize
        weights = sum(math.prod(size) for size in sizes.values()) * number
        wide = max((size[0] for name, size in sizes.items() if "gate_proj" in name), default=0)
        # Logits, shifted and exponentiated; or likenesses, masks and keys; or the gated unit.
        logits = 3 * longest * self._shape.vocabulary
        attention = (2 * self._shape.heads + 3) * longest**2
        largest = max(logits, attention, 5 * longest * wide) + 6 * longest * self._shape.hidden
        return weights + max(file_sizes, largest * number)

    def load(self) -> None:
        """Load the weights now. Raises ModelError."""
        self._loaded()

    def logprobs(self, sequences: Sequence[TokenSequence]) -> list[tuple[Floats, ...]]:
        """Log-probabilities (nats, float64, at most 0) of each span, given all tokens before.

        Raises BackendError, before anything runs, for a sequence that is too long or malformed.
        """
        check_sequences(sequences, max_length=self.max_length, vocabulary=self._shape.vocabulary)
        return [self._score(sequence) for sequence in sequences]

    def close(self) -> None:
        """Free the weights now; a later `logprobs` would load them again."""
        self._model = None

    def _score(self, sequence: TokenSequence) -> tuple[Floats, ...]:
        ids = np.array(sequence.ids, dtype=np.int64)
        scored = np.zeros(len(ids), dtype=np.bool_)
        for start, end in sequence.spans:
            scored[start:end] = True
        found = np.full(len(ids), np.nan)
        found[scored] = self._loaded().logprobs(ids, np.flatnonzero(scored))
        return tuple(found[start:end].copy() for start, end in sequence.spans)

    def _loaded(self) -> Llama:
        if self._model is None:
            weights: dict[str, Any] = {}
            try:
                for file in sorted(self._folder.glob("*.safetensors")):
                    for name, tensor in load_file(file).items():
                        weights[name] = tensor.astype(self._precision)
                check_sizes(self._shape, {name: t.shape for name, t in weights.items()})
                self._model = Llama(self._shape, weights)
                self._model.logprobs(np.zeros(2, dtype=np.int64), np.ones(1, dtype=np.int64))
            except (OSError, ValueError, TypeError, LookupError, SafetensorError) as error:
                self._model = None
                raise ModelError(
                    f"{self._name}: config.json and the weights do not make a Llama model "
                    f"({type(error).__name__}: {error}); fetch both anew, from one revision"
                ) from error
        return self._model

    def _tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """For markup and for data, which never becomes a special token."""
        description = self._json("tokenizer.json")
        before = description.get("pre_tokenizer") or {}
        plain = (
            before.get("type") == "ByteLevel"
            and not before.get("add_prefix_space")
            and description.get("normalizer") is None
            and all(token["special"] for token in description.get("added_tokens") or ())
        )
        if not plain:
            raise ModelError(
                f"{self._name}: reference takes byte-level tokenizers only; write `use: "
                "transformers`, which knows the others"
            )
        text = json.dumps({**description, "truncation": None, "padding": None})
        try:
            markup, data = Tokenizer.from_str(text), Tokenizer.from_str(text)
            # It adds nothing to data, but may take white space out of the offsets.
            data.post_processor = None
        except Exception as error:  # the library raises nothing more particular
            raise ModelError(
                f"{self._name}: tokenizer.json is damaged ({error}); fetch it anew"
            ) from error
        special = {token["id"] for token in description.get("added_tokens") or ()}
        highest = max(set(markup.get_vocab().values()) - special, default=-1)
        if highest >= self._shape.vocabulary:
            raise ModelError(
                f"{self._name}: its tokenizer has tokens up to number {highest}, and the model has "
                f"embeddings for {self._shape.vocabulary} (0 to {self._shape.vocabulary - 1}): "
                "they are not of one model; fetch both anew, from one revision"
            )
        data.encode_special_tokens = True
        return markup, data

    def _start_token(self, settings: Mapping[str, Any]) -> int:
        for name in ("bos_token_id", "eos_token_id"):
            if isinstance(settings.get(name), int):
                return int(settings[name])
        raise ModelError(f"{self._name}: config.json names neither a BOS nor an EOS token")

    def _chat_template(self) -> ChatTemplate | None:
        file = self._folder / "chat_template.jinja"
        named = self._json("tokenizer_config.json", {})
        source = file.read_text(encoding="utf-8") if file.is_file() else named.get("chat_template")
        if not isinstance(source, str):
            return None
        bos, eos = (_text(named.get(name)) for name in ("bos_token", "eos_token"))
        return ChatTemplate(source, bos, eos, f"the tokenizer of {self._name}")

    def _json(self, file: str, default: Any = None) -> Any:
        path: Path = self._folder / file
        if default is not None and not path.is_file():
            return default
        mend = "copy it anew from where the model came from"
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{self._name}: {file} cannot be read: {error}; {mend}") from error
        if not isinstance(found, dict):
            raise ModelError(f"{self._name}: {file} holds no JSON object; {mend}")
        return found


def check_sizes(shape: Shape, found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError where weights of these sizes are not what config.json says.

    Only what could pass unseen: other sizes do not multiply, and missing weights are missed.
    """
    wide, own = shape.heads * shape.head_width, shape.key_heads * shape.head_width
    expected = {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden)}
    for layer in range(shape.layers):
        name = f"model.layers.{layer}.self_attn."
        expected[f"{name}q_proj.weight"] = (wide, shape.hidden)
        expected[f"{name}k_proj.weight"] = (own, shape.hidden)
    if "lm_head.weight" in found:
        expected["lm_head.weight"] = expected["model.embed_tokens.weight"]
    for name, size in expected.items():
        if name not in found:
            raise ValueError(f"there is no weight {name}")
        if found[name] != size:
            raise ValueError(f"{name} is {list(found[name])}, and by config.json {list(size)}")
    more = sorted(name for name in found if name.startswith(f"model.layers.{shape.layers}."))
    if more:
        raise ValueError(f"config.json speaks of {shape.layers} layers, and there is {more[0]}")


def shape_of(settings: Mapping[str, Any], name: str) -> Shape:
    """The sizes in config.json. Raises ModelError for what `llama.py` does not compute."""
    rotary = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    expected = {
        "model_type": (settings.get("model_type"), "llama"),
        "hidden_act": (settings.get("hidden_act", "silu"), "silu"),
        "attention_bias": (bool(settings.get("attention_bias")), False),
        "mlp_bias": (bool(settings.get("mlp_bias")), False),
        "rope_type": (rotary.get("rope_type", rotary.get("type", "default")), "default"),
    }
    for key, (found, wanted) in expected.items():
        if found != wanted:
            raise ModelError(
                f"{name}: {key} is {found!r}, and reference computes only {wanted!r}; write "
                "`use: transformers`"
            )
    try:
        heads, hidden = int(settings["num_attention_heads"]), int(settings["hidden_size"])
        return Shape(
            layers=int(settings["num_hidden_layers"]),
            hidden=hidden,
            heads=heads,
            key_heads=int(settings.get("num_key_value_heads") or heads),
            head_width=int(settings.get("head_dim") or hidden // heads),
            context=int(settings["max_position_embeddings"]),
            vocabulary=int(settings["vocab_size"]),
            epsilon=float(settings["rms_norm_eps"]),
            theta=float(rotary.get("rope_theta", settings.get("rope_theta", 10000.0))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name}: config.json lacks or garbles {error}") from error


def _text(token: Any) -> str:
    """A token of tokenizer_config.json: its text, or an object that holds it."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
