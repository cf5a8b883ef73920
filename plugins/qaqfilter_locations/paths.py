"""``path:``, a model on this machine: a GGUF file, or a folder.

The digest is SHA-256 over the weights, read anew each time: a cached one could be wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from qaqfilter import ModelError, ModelFiles
from qaqfilter_locations.safetensors import check_whole

# What besides the weights changes a number: the architecture's sizes and the tokeniser.
# The chat template only changes prompts, which are in the keys of scores themselves.
_BESIDE_WEIGHTS = (
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_CONVERT = (
    "pickles can run code when they are loaded, so they are not; convert them to safetensors, on a "
    "machine where you trust them: `AutoModelForCausalLM.from_pretrained(folder).save_pretrained("
    "new_folder)` with transformers, and the tokenizer's files copied beside"
)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


class PathLocator:
    """Finds models by path."""

    def locate(self, location: str, revision: str | None) -> ModelFiles:
        """The file or folder at `location`. Raises ModelError, naming it."""
        path = Path(location).expanduser()
        if revision is not None:
            raise ModelError(
                f"path:{path}: a path has no revisions; remove `revision: {revision}`, or name a "
                "hub model with hf:"
            )
        try:
            return _locate(path)
        except OSError as error:
            raise ModelError(
                f"path:{path}: cannot be read: {error.strerror or error}; check its permissions"
            ) from error


def _locate(path: Path) -> ModelFiles:
    if not path.exists():
        raise ModelError(
            f"path:{path}: no such file or folder; check the spelling (a relative path counts "
            "from the recipe's folder), or name a hub model with hf:org/name"
        )
    if path.is_dir():
        return _locate_folder(path)
    if path.suffix in _PICKLES:
        raise ModelError(f"path:{path}: a pickle; {_CONVERT}")
    if path.suffix != ".gguf":
        raise ModelError(
            f"path:{path}: not a .gguf file; name a GGUF file, or the folder that holds the "
            "safetensors files and config.json"
        )
    return gguf_files(path)


def _locate_folder(folder: Path) -> ModelFiles:
    if any(folder.glob("*.safetensors")):
        check_safetensors(folder, f"path:{folder}")
        return ModelFiles(folder, "safetensors", digest_folder(folder))
    found = sorted(folder.glob("*.gguf"))
    starts = [path for path in found if _shard_number(path) in (None, 1)]
    if len(starts) == 1:
        return gguf_files(starts[0])
    if starts:
        names = ", ".join(path.name for path in starts)
        raise ModelError(f"path:{folder}: holds more than one GGUF file; name one of: {names}")
    mend = "name a folder with config.json and *.safetensors, or a .gguf file"
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        mend = f"{pickles[0]} is a pickle; {_CONVERT}"
    raise ModelError(f"path:{folder}: holds neither safetensors nor a GGUF file; {mend}")


def check_safetensors(folder: Path, name: str) -> None:
    """Raise ModelError, calling the model `name`, unless `folder` holds all of a model."""
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{name}: holds no *.safetensors files; name a GGUF file: hf:org/name/file.gguf, or a "
            f"revision that has them. Where there are only pickles (*.bin): {_CONVERT}"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{name}: has safetensors but no config.json; copy it from where the model came from"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            listed = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{name}: {index.name} is broken ({error!r}); fetch it anew") from None
        missing = sorted(file for file in listed if not (folder / file).is_file())
        if missing:
            raise ModelError(
                f"{name}: {len(missing)} of {len(listed)} weight files are missing, among them "
                f"{missing[0]}; fetch the model anew"
            )
    for path in sorted(folder.glob("*.safetensors")):
        check_whole(path, name)


def digest_folder(folder: Path) -> str:
    """SHA-256, hex, over the names and contents of weights, configuration and tokeniser."""
    names = {path.name for path in folder.glob("*.safetensors")}
    names |= {name for name in _BESIDE_WEIGHTS if (folder / name).is_file()}
    return _digest([folder / name for name in sorted(names)])


def gguf_files(path: Path, name: str | None = None, digest: str | None = None) -> ModelFiles:
    """A GGUF file with the other parts of a split one. Raises ModelError, naming `name`."""
    name = name or f"path:{path}"
    parts = gguf_parts(path.name)
    if parts[0] != path.name:
        raise ModelError(f"{name}: a part of a split model; name the first: {parts[0]}")
    files = [path.with_name(part) for part in parts]
    for file in files:
        if not file.is_file():
            raise ModelError(f"{name}: the part {file.name} is missing; fetch all {len(files)}")
        with file.open("rb") as stream:
            magic = stream.read(4)
        if magic != b"GGUF":
            hint = (
                "it is a Git LFS pointer: run `git lfs pull`" if magic == b"vers" else "replace it"
            )
            raise ModelError(
                f"{name}: {file.name} is not a GGUF file (it begins {magic!r}); {hint}"
            )
    if digest is None:
        digest = digest_file(path) if len(files) == 1 else _digest(files)
    return ModelFiles(path, "gguf", digest)


def gguf_parts(name: str) -> list[str]:
    """The names of all parts of the GGUF file `name`: itself, unless it is split."""
    match = _SHARD.fullmatch(name)
    if match is None:
        return [name]
    stem, count = match["stem"], int(match["count"])
    return [f"{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def digest_file(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        # A digest has a fixed length and a name holds no newline that could imitate one.
        total.update(f"{digest_file(path)} {json.dumps(path.name)}\n".encode())
    return total.hexdigest()


def _shard_number(path: Path) -> int | None:
    match = _SHARD.fullmatch(path.name)
    return int(match["number"]) if match else None
