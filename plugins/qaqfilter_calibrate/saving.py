"""calibration.json, put beside the run whole or not at all."""

from __future__ import annotations

from pathlib import Path

import orjson

from qaqfilter import RunDirectoryError
from qaqfilter.addresses import Address
from qaqfilter.beside import put_beside
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
    return put_beside(place, CALIBRATION, orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
