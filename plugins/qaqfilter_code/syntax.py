"""errors = places in the answer's code that its language's grammar cannot read; 0: it parses.

Code stands in fenced blocks, or is the whole answer where there is none. tree-sitter reads on
behind an error, so a place is one error and not the end. Beside what is wrong it counts what is
missing: an answer that was cut off inside a function has an error at its end. Whether names exist
and types agree is not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from qaqfilter import Options, Record
from qaqfilter_code.grammars import GRAMMARS, faults
from qaqfilter_code.pieces import canonical, pieces


class SyntaxOptions(Options):
    """Options of `syntax`."""

    unlabelled: str = Field(
        "detect",
        description="What code is in that no fence names: a language, `detect` (a classifier "
        f"looks at it), or `skip` (it does not count). Languages: {', '.join(GRAMMARS)}.",
    )
    no_code: Literal["undefined", "sound"] = Field(
        "undefined",
        description="What is said of an answer without code in one of these languages: nothing, "
        "so that no `keep` lets it pass, or that it has no errors.",
    )
    longest: int = Field(
        100_000,
        ge=1,
        description="Bytes of code in one piece; a longer one is not judged, since a few grammars "
        "take minutes over a megabyte of what is not their language.",
    )

    @field_validator("unlabelled")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in ("detect", "skip") and canonical(value) not in GRAMMARS:
            known = ", ".join(GRAMMARS)
            raise ValueError(f"there is no grammar of {value!r}; there are: {known}")
        return value


class Syntax:
    """Columns: errors, a count; error_share, of the judged bytes; judged, in bytes.

    Label: language, the one that most of the judged code is in. All but `judged` are null where
    there is no code, or none in a language that has a grammar here; or where a piece is too long.
    """

    columns = ("errors", "error_share", "judged")
    labels = ("language",)

    def __init__(self, config: SyntaxOptions) -> None:
        self.config = config

    def measure(self, record: Record) -> Mapping[str, float | str | None]:
        """Of a conversation, all answers that are scored count together."""
        found = [p for p in pieces(record, self.config.unlabelled) if p.language in GRAMMARS]
        long = any(len(piece.code) > self.config.longest for piece in found)
        sizes: Counter[str] = Counter()
        errors = covered = 0
        for language, _, code in () if long else found:
            assert language is not None
            sizes[language] += len(code)
            wrong = faults(language, code)
            errors, covered = errors + wrong.errors, covered + wrong.covered
        judged = sizes.total()
        none = 0.0 if self.config.no_code == "sound" and not long else float("nan")
        return {
            "errors": float(errors) if judged else none,
            "error_share": covered / judged if judged else none,
            "judged": float(judged),
            "language": max(sizes, key=lambda name: sizes[name]) if judged else None,
        }
