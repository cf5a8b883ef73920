"""The files of the score store: parquet, written whole or not at all, checked when read."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qaqfilter.identity import KEY_BYTES, Score
from qaqfilter.types import LikelihoodColumn

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """What a file holds: keys [rows, KEY_BYTES] and their scores."""

    keys: NDArray[np.uint8]
    scores: LikelihoodColumn

    @classmethod
    def empty(cls) -> Part:
        """A part without rows."""
        return cls(np.empty((0, KEY_BYTES), np.uint8), LikelihoodColumn.empty(0))


def move_aside(path: Path, error: Exception) -> None:
    """Put a damaged part where nobody reads it, and say so; what it held is scored again."""
    aside = path.with_suffix(".damaged")
    if path.exists():
        path.replace(aside)
    log.warning("%s is damaged (%s): moved to %s; what it held is scored again", path, error, aside)


def write_part(path: Path, scores: Mapping[bytes, Score]) -> None:
    """Write a part under another name, sync it, rename it. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    logprob, tokens, status = zip(*scores.values(), strict=True)
    table = pa.table(
        {
            "key": pa.array(list(scores), type=pa.binary(KEY_BYTES)),
            "logprob": pa.array(logprob, type=pa.float64()),
            "tokens": pa.array(tokens, type=pa.int32()),
            "status": pa.array(status, type=pa.int8()),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_part(path: Path) -> Part:
    """A part's keys and scores. Raises what pyarrow raises for a damaged file."""
    table = _table(path, None)
    columns: Any = {name: table[name].to_numpy() for name in ("logprob", "tokens", "status")}
    return Part(_keys(table), LikelihoodColumn(**columns))


def read_keys(path: Path) -> NDArray[np.uint8]:
    """A part's keys alone, [rows, KEY_BYTES]."""
    return _keys(_table(path, ["key"]))


def _table(path: Path, columns: list[str] | None) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns, page_checksum_verification=True, memory_map=False)


def _keys(table: Any) -> NDArray[np.uint8]:
    joined = b"".join(table["key"].to_pylist())
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, KEY_BYTES)
