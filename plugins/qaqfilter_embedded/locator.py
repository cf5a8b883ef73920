"""``builtin:strong`` and ``builtin:weak`` as files; as GGUF, made once in the user's cache."""

from __future__ import annotations

import difflib
import hashlib
import json
import tempfile
from functools import partial
from pathlib import Path

from qaqfilter import ModelError, ModelFiles
from qaqfilter.cache import user_cache

NAMES = ("strong", "weak")
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
CONVERTER = 1  # raise it when gguf.py writes other bytes: the cache then makes new files


class EmbeddedLocator:
    """Finds the folders inside this package."""

    def locate(self, location: str, revision: str | None) -> ModelFiles:
        """The folder of `location`, which also comes as GGUF. Raises ModelError, naming it."""
        if location not in NAMES:
            close = difflib.get_close_matches(location, NAMES, n=1, cutoff=0.5)
            guess = f"did you mean builtin:{close[0]}? " if close else ""
            raise ModelError(f"builtin:{location}: no such model; {guess}Known: {', '.join(NAMES)}")
        if revision is not None:
            raise ModelError(
                f"builtin:{location}: an embedded model has no revisions (got {revision!r}); "
                "remove `revision`, and pin the version of qaqfilter"
            )
        folder = Path(__file__).parent / location
        try:
            digest = _digest(folder)
        except OSError as error:
            raise ModelError(
                f"builtin:{location}: its files cannot be read ({error}); reinstall qaqfilter"
            ) from error
        return ModelFiles(
            folder, "safetensors", digest, partial(_as_gguf, location, folder, digest)
        )


def _as_gguf(location: str, folder: Path, digest: str) -> ModelFiles:
    """The same weights in a float32 GGUF file, which is made if it is not there yet."""
    # The digest is in the name: other weights, or another converter, are another file.
    path = user_cache() / "models" / f"{digest[:16]}-{CONVERTER}" / f"qaqfilter-{location}.gguf"
    if not path.is_file():
        try:
            _make(folder, path)
        except ImportError as error:
            raise ModelError(
                f"builtin:{location}: making a GGUF file of it needs the library gguf ({error}); "
                "run pip install 'qaqfilter[llamacpp]'"
            ) from error
        except OSError as error:
            raise ModelError(
                f"builtin:{location}: cannot be written as GGUF to {path}: {error}; check the free "
                "disk space, or point QAQFILTER_CACHE to another folder"
            ) from error
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return ModelFiles(path, "gguf", found)


def _make(folder: Path, path: Path) -> None:
    """Write under a name of our own, then rename: no process sees half a file."""
    from qaqfilter_embedded.gguf import write_gguf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as beside:
        whole = Path(beside) / path.name
        write_gguf(folder, whole)
        try:
            whole.replace(path)
        except PermissionError:
            # Windows: another process was first and has the file open. Its bytes are the same.
            if not path.is_file():
                raise


def _digest(folder: Path) -> str:
    """SHA-256, hex, over names and contents of all that moves a number."""
    total = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{content} {json.dumps(name)}\n".encode())
    return total.hexdigest()
