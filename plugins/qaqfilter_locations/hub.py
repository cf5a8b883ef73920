"""``hf:``, a repository on the Hugging Face hub (``org/name``), or a GGUF file in one.

The digest is the commit that the revision stands for, so a moved branch is another model. What
was fetched before is found again without a network, as huggingface_hub does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qaqfilter import ModelError, ModelFiles
from qaqfilter_locations.paths import check_safetensors, digest_folder, gguf_files, gguf_parts

# Never *.bin, *.pt or *.ckpt: pickles run code when they are loaded. *.py is fetched but not run,
# unless the recipe trusts it.
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py"]
# Some repositories hold the weights a second time, in a subfolder or under Mistral's own name;
# transformers reads neither.
_UNWANTED = ["*/*", "consolidated*.safetensors"]
_COMMIT_LENGTH = 40


class HubLocator:
    """Fetches models from the hub into huggingface_hub's own cache."""

    def locate(self, location: str, revision: str | None) -> ModelFiles:
        """Fetch ``org/name`` or ``org/name/file.gguf``. Raises ModelError, naming it."""
        parts = location.split("/", 2)
        if len(parts) < 2 or not all(parts):
            raise ModelError(
                f"hf:{location}: not a hub id; write hf:org/name, or hf:org/name/file.gguf for a "
                "GGUF file in a repository"
            )
        repository = "/".join(parts[:2])
        if len(parts) == 2:
            return _fetch_folder(repository, revision)
        if not parts[2].endswith(".gguf"):
            raise ModelError(
                f"hf:{location}: {parts[2]} is not a .gguf file; write hf:{repository} for the "
                "whole repository"
            )
        return _fetch_file(repository, parts[2], revision)


def _fetch_folder(repository: str, revision: str | None) -> ModelFiles:
    from huggingface_hub import snapshot_download

    name = f"hf:{repository}"
    folder = _fetch(
        snapshot_download,
        name,
        revision,
        repo_id=repository,
        allow_patterns=_WANTED,
        ignore_patterns=_UNWANTED,
    )
    check_safetensors(folder, name)
    return ModelFiles(folder, "safetensors", _commit(folder) or digest_folder(folder))


def _fetch_file(repository: str, file: str, revision: str | None) -> ModelFiles:
    from huggingface_hub import hf_hub_download

    name = f"hf:{repository}/{file}"
    folder, slash, last = file.rpartition("/")
    paths: list[Path] = []
    for part in gguf_parts(last):
        # The first part settles the commit, so that a branch cannot move between two parts.
        at = _commit(_root(paths[0], file)) if paths else None
        wanted = f"{folder}{slash}{part}"
        paths.append(
            _fetch(hf_hub_download, name, at or revision, repo_id=repository, filename=wanted)
        )
    commit = _commit(_root(paths[0], file))
    # Two files of one commit are two models: both names are in the digest.
    return gguf_files(paths[0], name, f"{commit}/{file}" if commit else None)


def _fetch(download: Any, name: str, revision: str | None, **arguments: Any) -> Path:
    try:
        return Path(download(revision=revision, **arguments))
    except Exception as error:
        raise _explained(error, name, revision) from error


def _explained(error: Exception, name: str, revision: str | None) -> ModelError:
    """What went wrong, in our words; huggingface_hub's own message comes last."""
    from huggingface_hub import errors

    at = f"{name} at revision {revision}" if revision else name
    # The order matters: a gated repository is also one that was not found.
    known: list[tuple[type[Exception], str]] = [
        (
            errors.GatedRepoError,
            "its owner lets only registered users have it; accept the terms on its page, then "
            "run `hf auth login`",
        ),
        (
            errors.RepositoryNotFoundError,
            "no such repository, or a private one; check the spelling, or run `hf auth login`",
        ),
        (
            errors.RevisionNotFoundError,
            "no such commit, tag or branch; check `revision`",
        ),
        (
            errors.LocalEntryNotFoundError,
            "not in the local cache, and the hub cannot be reached; fetch it once with a network "
            "connection, or copy the files here and name their path",
        ),
        (
            errors.EntryNotFoundError,
            "the repository has no such file; look up the name on its page",
        ),
        (errors.HFValidationError, "not a valid hub id; write hf:org/name"),
    ]
    for kind, explanation in known:
        if isinstance(error, kind):
            return ModelError(f"{at}: {explanation} ({_first_line(error)})")
    return ModelError(
        f"{at}: cannot be fetched ({type(error).__name__}: {_first_line(error)}); check the "
        "network and the free disk space, or copy the files here and name their path"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no message")


def _root(path: Path, file: str) -> Path:
    """The snapshot folder that `file` of a repository was put into."""
    return path.parents[file.count("/")]


def _commit(folder: Path) -> str | None:
    """The commit of a snapshot folder, ``.../snapshots/<commit>``, or None."""
    name = folder.name
    is_commit = len(name) == _COMMIT_LENGTH and all(c in "0123456789abcdef" for c in name)
    return name if is_commit and folder.parent.name == "snapshots" else None
