"""Is a safetensors file whole? Its first bytes say how long it has to be.

    8 bytes: length n of the header, little-endian; n bytes: JSON, name -> {data_offsets: [a, b]}

Found here, before anything is read through or loaded, damage is told with the file's name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qaqfilter import ModelError

_LONGEST_HEADER = 100_000_000  # what the format allows
_MEND = "fetch it anew"


def check_whole(path: Path, name: str) -> None:
    """Raise ModelError, calling the model `name`, for a file that is cut short or damaged."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        if start == b"version ":
            raise ModelError(
                f"{name}: {path.name} is a Git LFS pointer, not the file itself; run `git lfs pull`"
            )
        length = int.from_bytes(start, "little")
        if len(start) == 8 and length > _LONGEST_HEADER:
            raise ModelError(f"{name}: {path.name} is not a safetensors file; {_MEND}")
        header = stream.read(length) if len(start) == 8 else b""
    if len(start) < 8 or len(header) < length:
        raise ModelError(
            f"{name}: {path.name} is cut short inside its header (it has {size} bytes); {_MEND}"
        )
    try:
        end = max((_end(entry) for entry in _tensors(json.loads(header))), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{name}: the header of {path.name} is damaged ({type(error).__name__}: {error}); "
            f"{_MEND}"
        ) from None
    whole = 8 + length + end
    if size != whole:
        what = "is cut short" if size < whole else "is damaged"
        raise ModelError(
            f"{name}: {path.name} {what}: it has {size} bytes, and its header speaks of {whole}; "
            f"{_MEND}"
        )


def _tensors(header: Any) -> list[Any]:
    return [entry for name, entry in header.items() if name != "__metadata__"]


def _end(entry: Any) -> int:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end:
        raise ValueError(f"data_offsets [{start}, {end}]")
    return int(end)
