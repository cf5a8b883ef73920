"""A Llama model in a folder of safetensors, written as GGUF for llama.cpp.

For models with a byte-level BPE tokenizer that has GPT-2's word pattern, and no special tokens but
flagged ones: the embedded models, and those that tests make. Layout and keys:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",  # tied models have none, and llama.cpp then ties them too
}
_OF_A_LAYER = {
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


def write_gguf(folder: Path, path: Path, *, half: bool = False) -> Path:
    """Write the model in `folder` to `path`; returns `path`. The same bytes every time.

    Float32 unless `half`: float16 weights fit into float32 exactly, and llama.cpp rounds what it
    multiplies float16 weights with. Norms are always float32, as llama.cpp wants them.
    Raises ImportError where the library `gguf` is missing, ValueError for other architectures.
    """
    from gguf import GGUFWriter, LlamaFileType
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_bytes())
    if config["model_type"] != "llama":
        raise ValueError(f"{folder}: a model of the type {config['model_type']}, not llama")
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rotary = config.get("rope_parameters") or {}
    writer = GGUFWriter(path, "llama")
    writer.add_name(folder.name)
    writer.add_file_type(LlamaFileType.MOSTLY_F16 if half else LlamaFileType.ALL_F32)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(rotary.get("rope_theta", config.get("rope_theta", 10000.0)))
    _add_tokenizer(writer, folder, config)
    for name, tensor in sorted(load_file(folder / "model.safetensors").items()):
        values = tensor.astype(np.float16 if half and tensor.ndim == 2 else np.float32)
        if "q_proj" in name or "k_proj" in name:
            values = rotary_order(values, heads if "q_proj" in name else key_heads)
        writer.add_tensor(_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rotary_order(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """llama.cpp rotates neighbouring pairs of rows, transformers a head's two halves."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _name(name: str) -> str:
    if name in _WHOLE:
        return _WHOLE[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_OF_A_LAYER[part]}.weight"


def _add_tokenizer(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    from gguf import TokenType

    described = json.loads((folder / "tokenizer.json").read_bytes())
    ids: dict[str, int] = dict(described["model"]["vocab"])
    special = {token["content"]: token["id"] for token in described["added_tokens"]}
    ids.update(special)
    tokens = sorted(ids, key=lambda token: ids[token])
    kinds = [TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens]
    merges = [m if isinstance(m, str) else " ".join(m) for m in described["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")  # the same regular expression as ByteLevel(use_regex=True)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(described.get("post_processor") is not None)
    template = _template(folder)
    if template is not None:
        writer.add_chat_template(template)


def _template(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    named = folder / "tokenizer_config.json"
    found = json.loads(named.read_bytes()).get("chat_template") if named.is_file() else None
    return found if isinstance(found, str) else None
