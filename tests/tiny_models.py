"""Small real models for tests: a byte-level BPE tokenizer and random weights, made in seconds.

`make_model(folder, architecture)` writes a folder as the hub would hold it;
`export_gguf(folder, path)` writes its Llama variant as a float32 GGUF file, so that two
libraries can be compared on the same numbers.
"""

from __future__ import annotations

import textwrap
import timeit
from pathlib import Path
from typing import Any

BOS, EOS = "<|begin|>", "<|end|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
SPECIAL = (BOS, EOS, TURN_START, TURN_END)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 512
MAX_LENGTH = 512

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": MAX_LENGTH,
    "initializer_range": 0.25,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
_GEMMA = {"head_dim": 16, "final_logit_softcapping": 2.5, "query_pre_attn_scalar": 16}
_OWN = {
    "llama": {"rope_theta": 10000.0},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "gemma2": {**_GEMMA, "attn_logit_softcapping": 5.0, "sliding_window": 16},
    "gemma3_text": {**_GEMMA, "sliding_window": 16},
    "cohere": {"logit_scale": 0.4},
    "granite": {"logits_scaling": 1.7, "embedding_multiplier": 2.0, "residual_multiplier": 0.5},
    "gpt2": {},
}
ARCHITECTURES = tuple(_OWN)
"""Gemma soft-caps its logits, Cohere and Granite scale them; the others use the bare head."""


def make_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and its configuration: 512 byte-level tokens, BOS put in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = [Path(module.__file__).read_text(encoding="utf-8") for module in (textwrap, timeit)]
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[TURN_START, TURN_END],
        model_max_length=MAX_LENGTH,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def make_model(folder: Path, architecture: str = "llama", *, seed: int = 0) -> Path:
    """Write a float32 model of 2 layers and its tokenizer into `folder`; returns the folder.

    The weights are random but seeded, and wide enough for predictions far from uniform.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer(folder)
    options: dict[str, Any] = {**_SIZES, **_OWN[architecture]}
    config = AutoConfig.for_model(architecture, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        # Norms and biases start as constants, under which a misplaced one would not show.
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                noise = 0.2 * torch.randn_like(parameter)
                parameter.data += noise if "norm" in name or "ln_" in name else 0.1 * noise
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def export_gguf(folder: Path, path: Path) -> Path:
    """Write the Llama model in `folder` as a float32 GGUF file for llama.cpp; returns `path`."""
    from qaqfilter_embedded.gguf import write_gguf

    return write_gguf(folder, path)
