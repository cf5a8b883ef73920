"""py3langid, loaded when the first text comes: its model is in the package, nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from qaqfilter import UsageError

USUAL = (
    "ar",
    "bg",
    "bn",
    "ca",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "et",
    "fa",
    "fi",
    "fr",
    "gu",
    "he",
    "hi",
    "hr",
    "hu",
    "id",
    "it",
    "ja",
    "kn",
    "ko",
    "lt",
    "lv",
    "ml",
    "mr",
    "nl",
    "no",
    "pl",
    "pt",
    "ro",
    "ru",
    "sk",
    "sl",
    "sr",
    "sv",
    "sw",
    "ta",
    "te",
    "th",
    "tr",
    "uk",
    "ur",
    "vi",
    "zh",
)
"""Much written languages. With all that are known, rare ones win many a short text by chance."""


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
