"""Joint texts -> token ids, by the rules of the scripts that tokenise so (see `Joint`)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from qaqfilter.encoding import Encoded
from qaqfilter.errors import BackendError
from qaqfilter.joint import Joint, Whole
from qaqfilter.protocols import Backend, EncodesWhole

_REMEMBERED = 16
"""Texts whose tokens are kept: a record's prompt stands before, beside and inside others."""


class JointIds(NamedTuple):
    """A joint text's ids, None where nothing is left to score; `cut` tokens were cut off."""

    encoded: Encoded | None
    cut: int


class JointEncoder:
    """Encodes joint texts for one backend. Raises BackendError where it cannot."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._whole = lru_cache(_REMEMBERED)(self._tokenise)

    def __call__(self, joint: Joint) -> JointIds:
        """The ids up to the last that is scored."""
        whole = self._whole(joint.text)
        kept, cut = self._shortened(joint, whole)
        start, end = self._target(joint, kept)
        # The first token has nothing before it.
        start = max(start, 1)
        if start >= end or self._is_over(joint, end - start):
            return JointIds(None, cut)
        return JointIds(Encoded(tuple(kept.ids[:end]), start), cut)

    def _shortened(self, joint: Joint, whole: Whole) -> tuple[Whole, int]:
        """What is left of a text, and how many tokens are gone. Those behind the text stay."""
        if joint.limit is None:
            return whole, 0
        room = joint.limit.tokens
        if joint.limit.beside is not None:
            room += joint.limit.slack - self._beside(joint)
        cut = len(whole.ids) - room
        if cut <= 0:
            return whole, 0
        body, tail = max(0, room - whole.tail), len(whole.ids) - whole.tail
        starts = whole.starts
        return Whole(
            whole.ids[:body] + whole.ids[tail:],
            None if starts is None else starts[:body] + starts[tail:],
            whole.tail,
        ), cut

    def _target(self, joint: Joint, kept: Whole) -> tuple[int, int]:
        """Where the target begins, and where it ends."""
        if joint.boundary is None:
            return 0, len(kept.ids)
        if joint.by == "prefix":
            return len(self._whole(joint.text[: joint.boundary]).ids), len(kept.ids)
        if kept.starts is None:
            raise BackendError(
                "cannot tell where in a text its tokens begin, which this prompt needs; "
                "ask the model through `use: transformers`"
            )
        inside = [n for n, start in enumerate(kept.starts) if start >= joint.boundary]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def _is_over(self, joint: Joint, scored: int) -> bool:
        limit = joint.limit
        return (
            limit is not None
            and limit.beside is not None
            and self._beside(joint) + scored > limit.tokens
        )

    def _beside(self, joint: Joint) -> int:
        limit = joint.limit
        assert limit is not None and limit.beside is not None
        return min(len(self._whole(limit.beside).ids), limit.tokens)

    def _tokenise(self, text: str) -> Whole:
        if not isinstance(self._backend, EncodesWhole):
            raise BackendError(
                "has no `encode_whole`, and this prompt tokenises texts as a whole; "
                "use another prompt, or another backend"
            )
        return self._backend.encode_whole(text)
