"""A folder or a hub id to its splits, quietly, with errors that say what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qaqfilter import SourceError
from qaqfilter.printable import printable

_log = logging.getLogger(__name__)
SAVED = ("state.json", "dataset_dict.json")
"""Files by which a folder of `save_to_disk` is known: of a data set, and of one with splits."""


def load(
    folder: Path | None, hub_id: str, *, config: str | None, revision: str | None, streaming: bool
) -> Mapping[str, Any]:
    """The splits by name, each a `Dataset` or an `IterableDataset`. Raises SourceError."""
    if folder is not None:
        if revision is not None:
            raise SourceError(
                f"{folder}: a folder has no revisions; remove `revision: {revision}`, or name a "
                "data set on the hub with hf:org/name"
            )
        if any((folder / name).is_file() for name in SAVED):
            return _load_saved(folder, config)
    elif Path(hub_id).is_dir():  # where `datasets` itself would look first
        raise SourceError(
            f"hf:{hub_id}: the current folder has a folder of that name, which `datasets` takes "
            "for the one on the hub; run the command elsewhere"
        )
    elif not streaming:
        _log.info("hf:%s: fetched into the cache of datasets, unless it is there", hub_id)
    from datasets import load_dataset

    where = str(folder) if folder is not None else hub_id
    try:
        with _quiet():
            found = load_dataset(where, config, revision=revision, streaming=streaming)
    except Exception as error:
        raise _explained(error, folder, hub_id) from error
    return {str(name): split for name, split in found.items()}


def _load_saved(folder: Path, config: str | None) -> Mapping[str, Any]:
    from datasets import Dataset, load_from_disk

    if config is not None:
        raise SourceError(
            f"{folder}: a data set that was saved to disk has no configurations; remove "
            f"`config: {config}`"
        )
    try:
        with _quiet():
            found = load_from_disk(str(folder))
    except IndexError as error:
        raise SourceError(
            f"{folder}: a data set or split that was saved without a row, which `datasets` itself "
            "does not open again; save it without that"
        ) from error
    except Exception as error:
        raise SourceError(
            f"{folder}: not all of a data set that was saved to disk ({_first_line(error)}); save "
            "or copy it anew"
        ) from error
    if isinstance(found, Dataset):
        return {str(found.split or "train"): found}
    return {str(name): split for name, split in found.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, and warnings through our own log; afterwards all is as it was."""
    import datasets.utils
    import huggingface_hub.utils
    from datasets import config
    from huggingface_hub import constants

    bars = (
        (datasets.utils, config.HF_DATASETS_DISABLE_PROGRESS_BARS),
        (huggingface_hub.utils, constants.HF_HUB_DISABLE_PROGRESS_BARS),
    )
    # Where the environment decides, code may not; and would be told so by a warning.
    shown: list[Any] = [
        module for module, told in bars if told is None and not module.are_progress_bars_disabled()
    ]
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    before = [(theirs.handlers, theirs.propagate) for theirs in loggers]
    for theirs in loggers:
        theirs.handlers, theirs.propagate = [_Forward(logging.WARNING)], False
    for module in shown:
        module.disable_progress_bars()
    try:
        yield
    finally:
        for theirs, (handlers, propagate) in zip(loggers, before, strict=True):
            theirs.handlers, theirs.propagate = handlers, propagate
        for module in shown:
            module.enable_progress_bars()


class _Forward(logging.Handler):
    """Hands a message on to our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, "%s", printable(record.getMessage()))


def _explained(error: Exception, folder: Path | None, hub_id: str) -> SourceError:
    """What went wrong, in our words; that of `datasets` comes last."""
    from datasets import exceptions

    name = f"hf:{hub_id}" if folder is None else str(folder)
    page = f"https://huggingface.co/datasets/{hub_id}"
    text = str(error)
    known: list[tuple[bool, str]] = [
        (
            "gated" in text and folder is None,
            f"its owner lets only registered users have it; accept the terms on {page}, then run "
            "`hf auth login`",
        ),
        (text.startswith("Revision "), "no such commit, tag or branch; check `revision`"),
        (
            isinstance(error, exceptions.DatasetNotFoundError),
            "no such data set on the hub, or a private one; check the spelling, or run `hf auth "
            "login`",
        ),
        (
            isinstance(error, exceptions.DataFilesNotFoundError) or "EmptyDataset" in _kind(error),
            "no data files that `datasets` reads; name the folder that `save_to_disk` wrote, or "
            "one of .jsonl, .parquet, .csv or .arrow files",
        ),
        (
            isinstance(error, ConnectionError) or "Offline" in _kind(error),
            "not in the local cache, and the hub cannot be reached (is HF_HUB_OFFLINE set?); load "
            "it once with a network connection, or copy it here and name its folder",
        ),
        (
            "scripts are no longer supported" in text,
            "it comes with a Python script to load it, and such a script is never run; load it "
            "where you trust it, `save_to_disk`, and name that folder",
        ),
        (
            "Config name is missing" in text or "BuilderConfig" in text,
            "choose one of its configurations with `config`",
        ),
        (
            isinstance(error, ImportError) or isinstance(error.__cause__, ImportError),
            "what reads such data is not installed",
        ),
        (
            isinstance(error, exceptions.DatasetGenerationError),
            "its files do not fit together, or one is damaged: make their columns and types the "
            "same, or read the files themselves, as in `use: jsonl`",
        ),
    ]
    for applies, mend in known:
        if applies:
            return SourceError(f"{name}: {mend} ({_first_line(error)})")
    return SourceError(
        f"{name}: cannot be loaded ({_kind(error)}: {_first_line(error)}); check the network, the "
        "free disk space and the files, or copy the data set here and name its folder"
    )


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _first_line(error: BaseException) -> str:
    """What `datasets` says, or rather its cause: it wraps what the reading of a file raised."""
    cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" else None
    text = str(cause or error).strip().splitlines()
    return printable(" ".join(text[:3]).rstrip(".")) if text else _kind(error)
