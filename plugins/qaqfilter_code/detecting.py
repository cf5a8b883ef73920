"""Magika, loaded when the first text comes: its model is in the package, nothing is fetched."""

from __future__ import annotations

from functools import cache
from typing import Any

NO_LANGUAGE = ("markdown", "latex", "rst", "txt")


def detected(code: bytes) -> tuple[str | None, float]:
    """A language by Magika's name for it, and how sure that is; None where it is no code."""
    prediction = _magika().identify_bytes(code).prediction
    what = prediction.output
    coded = what.group == "code" or what.label in ("html", "css", "json", "xml", "yaml", "toml")
    if not coded or str(what.label) in NO_LANGUAGE:
        return None, 0.0
    return str(what.label), float(prediction.score)


@cache
def _magika() -> Any:
    from magika import Magika

    return Magika()
