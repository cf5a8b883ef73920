"""py3langid, loaded when the first text comes: its model is in the package, nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from qaqfilter import UsageError


def probabilities(text: str, among: Sequence[str]) -> Mapping[str, float]:
    """By ISO 639 code; they add up to 1."""
    return dict(_identifier(tuple(among)).rank(text))


def check(codes: Sequence[str]) -> None:
    """Raises UsageError where the model does not know a language."""
    known = sorted(_identifier(()).labels)
    if unknown := sorted({*codes} - {*known}):
        raise UsageError(
            f"the language {unknown[0]!r} is not known; write one of the ISO 639 codes "
            f"{', '.join(known)}"
        )


@cache
def _identifier(among: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    made = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if among:
        made.set_languages(list(among))
    return made
