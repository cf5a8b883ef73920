"""confidence = share of the answer's code that is in a language of `any_of`, weighed by certainty.

Bytes count. Code stands in fenced blocks, or is the whole answer where there is none. The word
behind a fence is believed; code that nothing names is shown to Magika, a small classifier. A few
lines may be too little for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydantic import Field

from qaqfilter import Options, Record
from qaqfilter_code.pieces import canonical, pieces


class CodeLanguageOptions(Options):
    """Options of `code_language`."""

    any_of: tuple[str, ...] = Field(
        (),
        description="The languages that are wanted, such as `[python, rust]`: with "
        "`keep: {min: 0.5}` the others go. Without, the language that most of the code is in.",
    )
    unlabelled: str = Field(
        "detect",
        min_length=1,
        description="What code is in that no fence names: a language, `detect` (a classifier "
        "looks at it), or `skip` (it does not count).",
    )


class CodeLanguage:
    """Column: confidence, from 0 to 1. Label: language, the one that most of the code is in.

    Both are null where the answer has no code; code of no known language is in none of `any_of`.
    """

    columns = ("confidence",)
    labels = ("language",)

    def __init__(self, config: CodeLanguageOptions) -> None:
        self.unlabelled = config.unlabelled
        self.wanted = {canonical(name) for name in config.any_of}

    def measure(self, record: Record) -> Mapping[str, float | str | None]:
        """Of a conversation, all answers that are scored are looked at together."""
        found = pieces(record, self.unlabelled)
        if not found:
            return {"confidence": float("nan"), "language": None}
        sizes: Counter[str] = Counter()
        for piece in found:
            if piece.language is not None:
                sizes[piece.language] += len(piece.code)
        # Of equally much code, the language that comes first.
        most = max(sizes, key=lambda name: sizes[name]) if sizes else None
        wanted: set[str | None] = {*self.wanted} or {most}
        of = sum(len(p.code) * p.sure for p in found if p.language in wanted)
        return {"confidence": of / sum(len(piece.code) for piece in found), "language": most}
