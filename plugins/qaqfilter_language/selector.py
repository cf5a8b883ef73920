"""confidence = P(language of the text is one of `any_of`); without it, P(the likeliest language).

Judged is the prose: fenced code blocks are left out. Short texts are uncertain ("Sort a list" could
be several languages), and the probability says so. Naming in `among` the languages that the data
may be in makes it surer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from qaqfilter import Options, Record, prose
from qaqfilter_language.identifier import USUAL, check, probabilities


class LanguageOptions(Options):
    """Options of `language`."""

    of: Literal["query", "answer", "both"] = Field("query", description="Which text to look at.")
    any_of: tuple[str, ...] = Field(
        (),
        description="The languages that are wanted, by ISO 639 code, such as `[en, de]`: with "
        "`keep: {min: 0.5}` the others go.",
    )
    among: tuple[str, ...] = Field(
        USUAL,
        description="The only languages to think of, and those of `any_of`; all that are known "
        "where it is empty.",
    )


class NaturalLanguage:
    """Column: confidence, from 0 to 1. Label: language, an ISO 639 code.

    Both are null where there is no letter outside of code.
    """

    columns = ("confidence",)
    labels = ("language",)

    def __init__(self, config: LanguageOptions) -> None:
        self.config = config
        self.sides = ("query", "answer") if config.of == "both" else (config.of,)
        # What is wanted has to be thought of, or it could never be found.
        self.among = tuple(dict.fromkeys((*config.among, *config.any_of))) if config.among else ()
        check((*config.any_of, *config.among))

    def measure(self, record: Record) -> Mapping[str, float | str | None]:
        """Of a conversation, all exchanges that are scored are looked at together."""
        texts = [prose(getattr(one, s)) for one in record.exchanges() for s in self.sides]
        text = "\n".join(texts)
        if not any(map(str.isalpha, text)):
            return {"confidence": float("nan"), "language": None}
        found = probabilities(text, self.among)
        likeliest = max(found, key=lambda code: (found[code], code))
        wanted = self.config.any_of or (likeliest,)
        return {"confidence": sum(found[code] for code in {*wanted}), "language": likeliest}
