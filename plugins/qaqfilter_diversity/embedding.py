"""Texts as points: static embeddings (model2vec), which need no GPU and no torch.

The model that comes in the package `wordllama` is the default, so nothing is fetched. Others are
folders, or ids on the hub.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from qaqfilter import ModelError

DEFAULT = "builtin:wordllama"
MOST = 127


def embedded(text: str, model: str, size: int) -> bytes:
    """The text's embedding, cut to `size` numbers of a byte each; zeros for a text without one.

    Its direction is what counts: the largest of the numbers is 127 or -127.
    """
    made = _model(model)
    if made.dim < size:
        raise ModelError(f"{model} gives {made.dim} numbers a text; set dimensions: {made.dim}")
    # JSON may hold half a surrogate pair, which tokenizers refuse.
    clean = text.encode("utf-8", "replace").decode("utf-8")
    (point,) = made.encode([clean], use_multiprocessing=False)[:, :size]
    largest = float(np.abs(point).max(initial=0.0))
    if not largest or not np.isfinite(largest):
        return bytes(size)
    packed: bytes = np.rint(point * (MOST / largest)).astype(np.int8).tobytes()
    return packed


@cache
def _model(location: str) -> Any:
    from model2vec import StaticModel

    if location == DEFAULT:
        return _wordllama()
    scheme, _, rest = location.partition(":")
    if scheme not in ("path", "hf"):
        raise ModelError(f"no embeddings are found by {scheme}:; name a folder, or a hub id")
    try:
        # Not forced: what the hub has given before is taken from the cache.
        return StaticModel.from_pretrained(rest, force_download=False)
    except Exception as error:
        raise ModelError(
            f"{rest} cannot be loaded as a model2vec model ({error}); name a folder that "
            "StaticModel.save_pretrained wrote, or a hub id such as minishlab/potion-base-8M"
        ) from error


def _wordllama() -> Any:
    """Not through its own loader, which does not look where its tokenizer is installed."""
    from model2vec import StaticModel
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("wordllama")
    assert found is not None and found.submodule_search_locations, "needs were checked"
    folder = Path(found.submodule_search_locations[0])
    weights = folder / "weights" / "l2_supercat_256.safetensors"
    words = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
    try:
        vectors = load_file(weights)["embedding.weight"].astype(np.float32)
        return StaticModel(vectors, Tokenizer.from_file(str(words)))
    except Exception as error:
        raise ModelError(
            f"the model in the package wordllama cannot be read ({error}); "
            "install it anew: pip install --force-reinstall wordllama"
        ) from error
