"""Small real models for tests: a byte-level BPE tokenizer and random weights, made in seconds.

`make_model(folder, architecture)` writes a folder as the hub would hold it;
`export_gguf(folder, path)` writes its Llama variant as a float32 GGUF file, so that two
libraries can be compared on the same numbers.
"""

from __future__ import annotations

import json
import textwrap
import timeit
from pathlib import Path
from typing import Any

import numpy as np

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
    from gguf import GGUFWriter, LlamaFileType
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rope = config.get("rope_parameters") or {}
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
    _add_tokenizer(writer, folder)
    for name, tensor in load_file(folder / "model.safetensors").items():
        if "q_proj" in name or "k_proj" in name:
            tensor = _rotary_order(tensor, heads if "q_proj" in name else key_heads)  # noqa: PLW2901
        writer.add_tensor(_gguf_name(name), np.ascontiguousarray(tensor, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _rotary_order(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp rotates neighbouring pairs of rows, transformers a head's two halves."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _gguf_name(name: str) -> str:
    ends = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    parts = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    if name in ends:
        return ends[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{parts[part]}.weight"


def _add_tokenizer(writer: Any, folder: Path) -> None:
    from gguf import TokenType

    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = dict(described["model"]["vocab"])
    special = {token["content"]: token["id"] for token in described["added_tokens"]}
    ids.update(special)
    tokens = sorted(ids, key=lambda token: ids[token])
    merges = [m if isinstance(m, str) else " ".join(m) for m in described["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")  # the same regular expression as ByteLevel(use_regex=True)
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges(merges)
    writer.add_bos_token_id(ids[BOS])
    writer.add_eos_token_id(ids[EOS])
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)
