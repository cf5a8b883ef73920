"""The files of the score store: parquet, written whole or not at all, checked when read.

    <time>-<random>.parquet    a part: key, logprob, tokens, status (others: token_parts.py)
    <time>-<random>.partial    a file that is being written, or was when its writer was killed
    <time>-<random>.damaged    a part that was found damaged

A name is used once, on all machines. Whoever has seen one need not look at it again, and a part
that is gone was joined with others, or cleared.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from qaqfilter.identity import KEY_BYTES, Score
from qaqfilter.types import LikelihoodColumn, Status

log = logging.getLogger(__name__)

OUR_NAME = re.compile(r"\d{20}-[0-9a-f-]+\.(parquet|partial|damaged)")
"""Every file of a store but facts.json. Any other file is somebody else's and left alone."""

_OF_THE_FILE = (None, errno.EIO, errno.ENOENT, errno.ESTALE)
"""Errors that tell of one file: pyarrow's own have no number. Others tell of the machine or of
permissions, and a good part must not be moved aside for them."""

T = TypeVar("T")


class Part(NamedTuple):
    """What a file holds: keys [rows, KEY_BYTES] and their scores."""

    keys: NDArray[np.uint8]
    scores: LikelihoodColumn

    @classmethod
    def of(cls, scores: Mapping[bytes, Score]) -> Part:
        """At least one score, as arrays."""
        logprob, tokens, status = zip(*scores.values(), strict=True)
        keys = np.frombuffer(b"".join(scores), np.uint8).reshape(-1, KEY_BYTES)
        column = LikelihoodColumn(
            np.array(logprob, np.float64), np.array(tokens, np.int32), np.array(status, np.int8)
        )
        return cls(keys, column)


def parts_of(folder: Path) -> list[Path]:
    """The parts in a folder, in the order of their names: none if there is no folder.

    A listing may miss a new part and also those it was joined from, where they are deleted while
    it is made. The next one shows it, so two have to agree.
    """
    before: list[Path] | None = None
    while True:
        now = sorted(p for p in folder.glob("*.parquet") if OUR_NAME.fullmatch(p.name))
        if now == before:
            return now
        before = now


def new_path(folder: Path, suffix: str = ".parquet", began: str | None = None) -> Path:
    """A name that nobody has had; `began` is the time of another, to stand beside it."""
    # Not the process number: in containers on several machines it is the same small number.
    return folder / f"{began or f'{time.time_ns():020d}'}-{os.urandom(8).hex()}{suffix}"


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name, synced, on leaving; after an error there is none.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = new_path(path.parent, ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        # The name too has to outlive a power cut: what was joined is deleted next.
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_part(file: BinaryIO, part: Part) -> None:
    """Write a part's scores as parquet. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = (part.scores.logprob, part.scores.tokens, part.scores.status)
    arrays = [key_array(part.keys), *map(pa.array, columns)]
    table = pa.Table.from_arrays(arrays, schema=_schema())
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def key_array(keys: NDArray[np.uint8]) -> Any:
    """Keys as an arrow array."""
    import pyarrow as pa

    buffer = pa.py_buffer(np.ascontiguousarray(keys))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(keys), [None, buffer])


def read_part(path: Path) -> Part:
    """A part's keys and scores. Raises OSError or ValueError for a damaged file."""
    table = read_columns(path, _schema().names)
    columns: Any = {name: table[name].to_numpy() for name in ("logprob", "tokens", "status")}
    part = Part(keys_in(table), LikelihoodColumn(**columns))
    if wrong := int(np.count_nonzero(~_possible(part.scores))):
        raise ValueError(f"{wrong} of its {len(part.keys)} scores cannot be")
    return part


def read_keys(path: Path) -> NDArray[np.uint8]:
    """A part's keys alone, [rows, KEY_BYTES]. Raises as `read_part`."""
    return keys_in(read_columns(path, ["key"]))


def read_rows(path: Path) -> int:
    """How many scores a part holds, from its footer. Raises as `read_part`."""
    with opened_part(path) as file:
        return int(file.metadata.num_rows)


def try_read(read: Callable[[Path], T], path: Path) -> T | None:
    """What `read` gives; None where the part is gone, or damaged, and then it is moved aside.

    Raises OSError where it is not the file that is at fault.
    """
    try:
        return read(path)
    except (OSError, ValueError) as error:
        if not is_damage(error):
            raise
        if (aside := move_aside(path)) is not None:
            log.warning(
                "%s is damaged (%s): moved to %s; what it held is scored again", path, error, aside
            )
        return None


def is_damage(error: Exception) -> bool:
    """Whether an error of reading a part tells of that file (or that it is gone)."""
    return getattr(error, "errno", None) in _OF_THE_FILE


def move_aside(path: Path) -> Path | None:
    """Put a damaged part where nobody reads it. None where it is gone already."""
    aside = path.with_suffix(".damaged")
    try:
        return path.replace(aside)
    except FileNotFoundError:
        return None


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        {
            "key": pa.binary(KEY_BYTES),
            "logprob": pa.float64(),
            "tokens": pa.int32(),
            "status": pa.int8(),
        }
    )


def token_schema() -> Any:
    """Of parts that hold the tokens of scores (token_parts.py)."""
    import pyarrow as pa

    numbers = pa.list_(pa.field("element", pa.float32(), nullable=False))
    return pa.schema({"key": pa.binary(KEY_BYTES), "logprobs": numbers})


@contextmanager
def opened_part(path: Path) -> Iterator[Any]:
    """A parquet file whose pages are checked; of the footer what can be."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True, memory_map=False) as file:
            if file.schema_arrow not in (_schema(), token_schema()):
                raise ValueError("its columns are not those of a part")
            if not file.metadata.num_rows:
                raise ValueError("there is no score in it")  # nobody writes such a part
            yield file
    except pa.ArrowException as error:  # of many kinds: a damaged footer may ask for anything
        raise ValueError(str(error)) from error


def read_columns(path: Path, columns: list[str]) -> Any:
    """Some columns of a part, whole and without gaps. Raises as `read_part`."""
    with opened_part(path) as file:
        table = file.read(columns, use_threads=False)
        if len(table) != file.metadata.num_rows:
            raise ValueError(f"{len(table)} of its {file.metadata.num_rows} scores are there")
    if table.column_names != columns:
        raise ValueError("its columns are not those of a part of its kind")
    if any(column.null_count for column in table.columns):
        raise ValueError("there are gaps in its columns")
    return table


def keys_in(table: Any) -> NDArray[np.uint8]:
    """The keys of a part's table, without a Python object for each."""
    keys = table["key"].combine_chunks()
    joined = np.frombuffer(keys.buffers()[1], np.uint8).reshape(-1, KEY_BYTES)
    return joined[keys.offset : keys.offset + len(keys)]


def _possible(scores: LikelihoodColumn) -> NDArray[np.bool_]:
    """Which scores a backend may have given: see `Status`."""
    defined = np.isfinite(scores.logprob) & (scores.logprob <= 0) & (scores.tokens > 0)
    known = np.isin(scores.status, list(Status))
    possible: NDArray[np.bool_] = known & (defined | (scores.status != Status.OK))
    return possible
