"""`sha256:` of a model in the recipe: the weights are the ones that were meant, or nothing runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from qaqfilter.errors import ModelError
from qaqfilter.model_files import ModelFiles
from qaqfilter.protocols import Resources
from qaqfilter.types import Record

_HEX = re.compile(r"[0-9a-f]{64}")
_GGUF_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf")


def _checked_digest(value: object) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    if not _HEX.fullmatch(text):
        raise ValueError(
            f"a SHA-256 is 64 hexadecimal digits, as `sha256sum` prints (got {value!r})"
        )
    return text


def _checked_digests(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return _checked_digest(value)
    if not value:
        raise ValueError("names no file; write {file name: digest, ...}")
    return {str(name): _checked_digest(digest) for name, digest in value.items()}


Sha256 = Annotated[str | dict[str, str] | None, BeforeValidator(_checked_digests)]
"""One digest, or one for each weight file by its name; lower-case hex after validation."""


@dataclass(frozen=True, slots=True)
class VerifiedResources:
    """Resources of a run for one backend: files from `location` are compared with `sha256`."""

    inner: Resources
    location: str
    sha256: str | Mapping[str, str]

    def model_files(self, location: str, revision: str | None = None) -> ModelFiles:
        """See `Resources`; also raises ModelError where a digest differs."""
        files = self.inner.model_files(location, revision)
        return checked(files, self.sha256) if location == self.location else files

    def records(self) -> Iterator[Record]:
        """See `Resources`."""
        return self.inner.records()


def checked(files: ModelFiles, sha256: str | Mapping[str, str]) -> ModelFiles:
    """`files` again, after reading every weight file. Raises ModelError where one differs."""
    weights = {path.name: path for path in weight_files(files)}
    if isinstance(sha256, str):
        if len(weights) != 1:
            raise ModelError(
                f"{files.path} holds {len(weights)} weight files ({', '.join(weights)}) and "
                "`sha256` is one digest; write {file name: digest, ...}, naming each of them"
            )
        sha256 = dict.fromkeys(weights, sha256)
    for what, names in (
        ("has no digest for", weights.keys() - sha256.keys()),
        ("names what the model does not have:", sha256.keys() - weights.keys()),
    ):
        if names:
            raise ModelError(
                f"`sha256` {what} {', '.join(sorted(names))}; the weight files in {files.path} "
                f"are {', '.join(weights)}"
            )
    for name, path in weights.items():
        found = _digest(path)
        if found != sha256[name]:
            raise ModelError(
                f"{path}: its SHA-256 is {found}, and the recipe's `sha256` says {sha256[name]}: "
                "not the file that was meant, or damaged; fetch it again, or correct the recipe"
            )
    return files


def weight_files(files: ModelFiles) -> list[Path]:
    """Every file of weights, sorted: a folder's safetensors, or a GGUF file with all its parts."""
    path = files.path
    if files.format == "safetensors":
        folder = path if path.is_dir() else path.parent
        return sorted(folder.glob("*.safetensors"))
    part = _GGUF_PART.fullmatch(path.name)
    if part is None:
        return [path]
    return [
        path.with_name(f"{part['stem']}-{number:05}-of-{part['count']}.gguf")
        for number in range(1, int(part["count"]) + 1)
    ]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read for its SHA-256: {error}") from error
