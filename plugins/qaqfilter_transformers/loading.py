"""Configuration, tokenizer and weights from a folder, each failure told as a ModelError."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qaqfilter import ChatTemplate, ModelError, ModelFiles
from qaqfilter_transformers.refusals import refuse_code

log = logging.getLogger(__name__)

_SOME_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


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

    with _told_as_model_error(folder, location, "configuration (config.json)"):
        return AutoConfig.from_pretrained(folder, **_source(remote_code))


def load_tokenizer(folder: Path, location: str, *, remote_code: bool) -> Any:
    """The fast tokenizer; tokenizer.json as it is, where there is one.

    A class named in tokenizer_config.json may rebuild the tokenizer differently from the file.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    known = (folder / "tokenizer.json").is_file()
    loader: Any = PreTrainedTokenizerFast if known else AutoTokenizer
    with _told_as_model_error(folder, location, "tokenizer"):
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
    with _told_as_model_error(folder, location, "weights"), _quietly():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            device_map={"": device},
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below, with their names
            **chosen,
            **_source(remote_code),
        )
    model, report = loaded
    unused = sorted(map(str, report.get("unexpected_keys") or ()))
    # transformers would go on, with random numbers, or without the layers that config.json lacks.
    layers = {_SOME_NUMBER.sub("#", name) for name in model.state_dict() if "." in name}
    for what, names in (
        ("not in the files", sorted(map(str, report.get("missing_keys") or ()))),
        ("of another size", sorted(map(_sizes, report.get("mismatched_keys") or ()))),
        ("not loaded", sorted(map(str, report.get("error_msgs") or ()))),
        ("of layers too many", [n for n in unused if _is_one_of(layers, n)]),
    ):
        if names:
            raise ModelError(
                f"{location}: config.json and the weights are not of one model; {len(names)} "
                f"weights are {what}, such as {', '.join(names[:3])}; fetch both anew, from one "
                "revision"
            )
    if unused:
        log.info("%s: weights not used: %s", location, unused[:5])
    model.eval()
    return model


def check_vocabulary(tokenizer: Any, vocabulary: int, location: str) -> None:
    """Raise ModelError where text could become a token that the model has no embedding for.

    Special tokens are left out: only markup has them, and some families hold one for pictures
    beyond the embeddings of their text models.
    """
    added = tokenizer.added_tokens_decoder
    special = {number for number, token in added.items() if token.special}
    highest = max(set(tokenizer.get_vocab().values()) - special, default=-1)
    if highest >= vocabulary:
        raise ModelError(
            f"{location}: its tokenizer has tokens up to number {highest}, and the model has "
            f"embeddings for {vocabulary} (0 to {vocabulary - 1}): they are not of one model; "
            "fetch both anew, from one revision"
        )


def _is_one_of(layers: Container[str], name: str) -> bool:
    """Whether the model has a weight of this name in another layer, so that one was left out."""
    pattern = _SOME_NUMBER.sub("#", name)
    return pattern != name and pattern in layers


def _sizes(mismatch: Any) -> str:
    """A weight's name, and its size in the file and by config.json."""
    if not isinstance(mismatch, tuple):
        return str(mismatch)
    name, *sizes = mismatch
    return f"{name} ({', not '.join(str(list(size)) for size in sizes)})"


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
def _told_as_model_error(folder: Path, location: str, what: str) -> Iterator[None]:
    try:
        with _logging_as_we_do():
            yield
    except Exception as error:
        mend = "fetch the model's files again, all of one revision"
        if "trust_remote_code" in str(error):
            mend = "to run the model's own code, write `trust_remote_code: true`"
        elif what == "tokenizer" and not (folder / "tokenizer.json").is_file():
            mend = "it has no tokenizer.json; copy that from where the model came from"
        said = " ".join(str(error).split())
        raise ModelError(
            f"{location}: cannot load its {what}: {type(error).__name__}: {said}; {mend}"
        ) from error


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
    """No progress bar of transformers' own in the middle of ours, and no report: we word it."""
    from transformers.utils import logging as library_logging

    library: Any = library_logging
    shown, loudness = library.is_progress_bar_enabled(), library.get_verbosity()
    library.disable_progress_bar()
    library.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(loudness)
        if shown:
            library.enable_progress_bar()
