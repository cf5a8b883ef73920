"""calibration.json, put beside the run whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import orjson

from qaqfilter import RunDirectoryError
from qaqfilter.addresses import Address
from qaqfilter.disk import sync
from qaqfilter.options import STDOUT
from qaqfilter.run_places import Folder, Place, place_of
from qaqfilter_calibrate.plain import Data

CALIBRATION = "calibration.json"


def free_place(path: str, *, replace: bool) -> Place | None:
    """Where the file is to go; None where the recipe writes to standard output.

    Raises RunDirectoryError where a calibration is there and must not be replaced.
    """
    if path == STDOUT:
        return None
    place = place_of(path)
    if isinstance(place, Folder) and not place.where.exists():
        return place
    try:
        there = place.names()
    except OSError as error:
        raise RunDirectoryError(f"cannot use {place.where}: {error}") from error
    if CALIBRATION in there and not replace:
        raise RunDirectoryError(
            f"{place.where / CALIBRATION} is there: --replace writes it anew (what is scored is "
            "not scored again), or name another folder with --set output.path=..."
        )
    return place


def save(place: Place, data: Data) -> Path | Address:
    """Write the file. Raises RunDirectoryError."""
    try:
        place.desk.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that it is moved there in one go.
        with tempfile.TemporaryDirectory(prefix=".calibration-", dir=place.desk) as folder:
            file = Path(folder, CALIBRATION)
            file.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
            sync(file)
            place.put(file)
    except OSError as error:
        told = error.strerror or str(error)
        raise RunDirectoryError(
            f"cannot write {place.where / CALIBRATION}: {told}; name another folder with --set "
            "output.path=..."
        ) from error
    finally:
        place.leave()
    return place.where / CALIBRATION
