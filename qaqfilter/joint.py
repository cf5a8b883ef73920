"""What a prompt may ask for instead of a Request: a text tokenised whole, as published scripts do.

Where query, answer and template are tokenised apart (`Request`), a target has the same tokens
whatever stands before it. Scripts that write all into one text, tokenise that, and look for the
place where the target begins do not have this. To give the numbers of such a script, say where it
looks, and what it cuts off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Limit(NamedTuple):
    """How a script shortens a text: tokens beyond are cut off its end.

    With `beside`, a text that stands elsewhere, the room is ``tokens - n + slack``, where n is
    how many tokens `beside` has, at most `tokens`. If `beside` and what is scored have more than
    `tokens` together, there is no likelihood (reason `too_long`).
    """

    tokens: int
    beside: str | None = None
    slack: int = 0


@dataclass(frozen=True, slots=True)
class Joint:
    """A text, with the special tokens that the tokenizer adds, and those that the text spells.

    Attributes
    ----------
    text: context and target.
    boundary: the character at which the target begins. None: everything is scored but the first
        token, which has nothing before it.
    by: how a character becomes a token. `prefix`: by the number of tokens that
        ``text[:boundary]`` has when it is tokenised by itself, special tokens included.
        `offsets`: scored is every token that begins at the boundary or behind it.
    limit: None where nothing is cut.
    """

    text: str
    boundary: int | None = None
    by: Literal["prefix", "offsets"] = "prefix"
    limit: Limit | None = None


class Whole(NamedTuple):
    """A text as a tokenizer gives it to those who ask for nothing in particular.

    `ids` with the special tokens that it adds, of which the last `tail` stand behind the text;
    `starts` has for each token the character at which it begins (0 for those that are added), and
    is None where the tokenizer cannot tell.
    """

    ids: list[int]
    starts: list[int] | None
    tail: int = 0

    @classmethod
    def of(
        cls, ids: Sequence[int], offsets: Sequence[tuple[int, int]], added: Sequence[int]
    ) -> Whole:
        """From what the library `tokenizers` gives; `added` is 1 for tokens that it has added."""
        behind = max((n + 1 for n, one in enumerate(added) if not one), default=len(added))
        return cls(list(ids), [start for start, _ in offsets], len(added) - behind)
