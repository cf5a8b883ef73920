"""Configuration, tokenizer and weights from a folder, each failure told as a ModelError."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qaqfilter import ChatTemplate, ModelError, ModelFiles
from qaqfilter_transformers.refusals import refuse_code

log = logging.getLogger(__name__)


def folder_of(files: ModelFiles, location: str) -> Path:
    """The folder to load from. Raises ModelError for a GGUF, or one that is not all safetensors."""
    if files.format == "gguf":
        # transformers can dequantise a GGUF, but rebuilds its tokenizer by guesswork (and takes
        # minutes for a large vocabulary): ids could differ without anybody noticing.
        raise ModelError(
            f"{location} is a GGUF file, which `transformers` does not run; write `use: llamacpp`"
        )
    folder = files.path if files.path.is_dir() else files.path.parent
    if not (folder / "config.json").is_file():
        raise ModelError(f"{location}: no config.json in {folder}; give a whole model folder")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{location}: no safetensors in {folder}; pickled weights can run code and are not "
            "loaded. Convert them, or name a revision that holds safetensors"
        )
    refuse_code(folder, location)
    return folder


def load_config(folder: Path, location: str, *, remote_code: bool) -> Any:
    """The model's configuration, a transformers PreTrainedConfig."""
    from transformers import AutoConfig

    with _told_as_model_error(location, "configuration"):
        return AutoConfig.from_pretrained(folder, **_source(remote_code))


def load_tokenizer(folder: Path, location: str, *, remote_code: bool) -> Any:
    """The fast tokenizer; tokenizer.json as it is, where there is one.

    A class named in tokenizer_config.json may rebuild the tokenizer differently from the file.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    known = (folder / "tokenizer.json").is_file()
    loader: Any = PreTrainedTokenizerFast if known else AutoTokenizer
    with _told_as_model_error(location, "tokenizer"):
        tokenizer = loader.from_pretrained(folder, **_source(remote_code))
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{location} has only a slow tokenizer ({type(tokenizer).__name__}), which cannot "
            "keep data apart from markup; convert it to a tokenizer.json"
        )
    return tokenizer


def load_weights(
    folder: Path, location: str, *, remote_code: bool, dtype: str, device: str, attention: str
) -> Any:
    """The model on its device, in evaluation mode, with every weight taken from the files."""
    import torch
    from transformers import AutoModelForCausalLM

    chosen = {} if attention == "auto" else {"attn_implementation": attention}
    with _told_as_model_error(location, "weights"), _quietly():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            device_map={"": device},
            use_safetensors=True,
            output_loading_info=True,
            **chosen,
            **_source(remote_code),
        )
    model, report = loaded
    for kind in ("missing_keys", "mismatched_keys", "error_msgs"):
        if report.get(kind):
            # transformers would go on with random numbers in their place.
            names = ", ".join(sorted(map(str, report[kind]))[:5])
            raise ModelError(f"{location}: weights do not fit the model: {kind}: {names}")
    if report.get("unexpected_keys"):
        log.info("%s: weights not used: %s", location, sorted(report["unexpected_keys"])[:5])
    model.eval()
    return model


def start_token(tokenizer: Any, folder: Path) -> tuple[int, str] | None:
    """The id to start a sequence with, and the rule that found it; None where nothing serves.

    BOS of the tokenizer; else the one that config.json itself names (Qwen's tokenizers name
    none, its configurations do), if the tokenizer holds it as a special token; else EOS.
    """
    if tokenizer.bos_token_id is not None:
        return int(tokenizer.bos_token_id), "bos of the tokenizer"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = _special_id(config.get("bos_token_id"), tokenizer)
    if named is not None:
        return named, "bos of config.json"
    if tokenizer.eos_token_id is not None:
        return int(tokenizer.eos_token_id), "eos of the tokenizer"
    named = _special_id(config.get("eos_token_id"), tokenizer)
    return None if named is None else (named, "eos of config.json")


def _special_id(named: Any, tokenizer: Any) -> int | None:
    """An id (or the first of several) that the tokenizer also holds as a special token."""
    first = named[0] if isinstance(named, list) and named else named
    added = tokenizer.added_tokens_decoder
    return first if isinstance(first, int) and first in added and added[first].special else None


def max_length(config: Any, location: str, asked: int | None) -> int:
    """Most tokens in a sequence: what was asked for, which the model must be able to take."""
    own: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    if own is None and asked is None:
        raise ModelError(f"{location} does not say how long a text it takes; give max_length")
    if own is not None and asked is not None and asked > own:
        raise ModelError(f"{location} takes {own} tokens; max_length is {asked}")
    return asked or own or 0


def chat_template(tokenizer: Any, location: str) -> ChatTemplate | None:
    """The tokenizer's template, the one named `default` where there are several."""
    source = tokenizer.chat_template
    if isinstance(source, dict):
        source = source.get("default")
    if not source:
        return None
    bos, eos = tokenizer.bos_token or "", tokenizer.eos_token or ""
    return ChatTemplate(source, bos, eos, f"the tokenizer of {location}")


def _source(remote_code: bool) -> dict[str, Any]:
    # The files are here already; only remote code may still have to come from the hub.
    return {"trust_remote_code": remote_code, "local_files_only": not remote_code}


@contextmanager
def _told_as_model_error(location: str, what: str) -> Iterator[None]:
    try:
        with _logging_as_we_do():
            yield
    except (OSError, ValueError, TypeError, LookupError, ImportError, RuntimeError) as error:
        hint = ""
        if "trust_remote_code" in str(error):
            hint = " (to run the model's own code, write `trust_remote_code: true`)"
        raise ModelError(f"{location}: cannot load its {what}: {error}{hint}") from error


@contextmanager
def _logging_as_we_do() -> Iterator[None]:
    """What transformers says goes where our log goes, which escapes what a terminal would obey.

    Its own handler prints names from the model's files to standard error as they are.
    """
    from transformers.utils import logging as library_logging

    library: Any = library_logging
    library.disable_default_handler()
    library.enable_propagation()
    try:
        yield
    finally:
        library.disable_propagation()
        library.enable_default_handler()


@contextmanager
def _quietly() -> Iterator[None]:
    """No progress bar of transformers' own in the middle of ours."""
    from transformers.utils import logging as library_logging

    library: Any = library_logging
    shown = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            library.enable_progress_bar()
