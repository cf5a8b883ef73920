"""A file that is put beside a run, whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from qaqfilter.addresses import Address
from qaqfilter.disk import sync
from qaqfilter.errors import RunDirectoryError
from qaqfilter.run_places import Place


def put_beside(place: Place, name: str, content: bytes) -> Path | Address:
    """Write a file into a run directory, in the stead of one of that name; where it is now.

    Raises RunDirectoryError where nobody can write there.
    """
    try:
        place.desk.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that it is moved there in one go.
        with tempfile.TemporaryDirectory(prefix=".beside-", dir=place.desk) as folder:
            file = Path(folder, name)
            file.write_bytes(content)
            sync(file)
            place.put(file)
    except OSError as error:
        told = error.strerror or str(error)
        raise RunDirectoryError(
            f"cannot write {place.where / name}: {told}; name another folder with --set "
            "output.path=..."
        ) from error
    finally:
        place.leave()
    return place.where / name
