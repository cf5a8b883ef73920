"""The charts' library: Vega, Vega-Lite and vega-embed as one script that fetches nothing."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from qaqfilter.cache import user_cache


@lru_cache(maxsize=1)
def bundle() -> str:
    """The script; it leaves `vegaEmbed` in the window.

    Making it takes seconds, so it is kept in the user's cache where that can be written.
    """
    path = user_cache() / "vega" / f"{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    import vl_convert

    made: str = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub is wrong
    with suppress(OSError):  # a home that cannot be written: made anew the next time
        _write(path, made)
    return made


def _write(path: Path, text: str) -> None:
    """Under its name only when it is whole: others may look for it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".making-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(partial).replace(path)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise
