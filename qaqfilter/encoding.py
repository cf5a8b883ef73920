"""Requests -> token ids, each text tokenised once a window, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qaqfilter.protocols import Backend, EncodesBatches
from qaqfilter.types import Request, Segment

MIN_PREFIX = 8
"""Fewest tokens of template text at the beginning that are worth computing once for all."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request as token ids; the target is ``ids[start:]``.

    ``ids[:prefix]`` is template text, the same for other records (0: not worth sharing).
    """

    ids: tuple[int, ...]
    start: int
    prefix: int = 0


class Encoder:
    """Requests -> ids, under the rules of docs/methods.md.

    Segments are tokenised one by one and concatenated, so the target's ids do not depend on the
    context. The start token stands first where the model expects it, and always where nothing
    else would stand before the target or before data; never twice.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._markup: dict[str, list[int]] = {}
        self._data: dict[str, list[int]] = {}

    def learn(self, requests: Iterable[Request]) -> None:
        """Tokenise what these requests hold and is not known yet, each text once, in batches.

        Data of requests that are not among these are forgotten, template text never is.
        """
        texts: tuple[dict[str, None], dict[str, None]] = ({}, {})
        for request in requests:
            for segment in (*request.context, request.target):
                texts[segment.markup][segment.text] = None
        known = self._data
        self._data = {text: known[text] for text in texts[False] if text in known}
        for markup, known in ((False, self._data), (True, self._markup)):
            fresh = [text for text in texts[markup] if text not in known]
            known.update(zip(fresh, self._tokenise(fresh, markup), strict=True))

    def __call__(self, request: Request, answer: Segment | None = None, cut: int = 0) -> Encoded:
        """The ids of a request that was learnt, without the last `cut` of `answer` in its context.

        Earlier turns may hold the same text as the answer; it is the last to say it.
        """
        shortened = _last_index(request.context, answer) if cut else -1
        context: list[int] = []
        prefix: int | None = None
        for index, segment in enumerate(request.context):
            if prefix is None and not segment.markup:
                prefix = len(context)
            context += self._ids(segment, cut if index == shortened else 0)
        if prefix is None:
            prefix = len(context)
        start = self._backend.start_token
        opens_with_data = not request.context or not request.context[0].markup
        expected = self._backend.adds_start and context[:1] != [start]
        if opens_with_data or expected or not context:
            context.insert(0, start)
            prefix += 1
        shared = prefix if prefix >= MIN_PREFIX else 0
        return Encoded((*context, *self._ids(request.target)), len(context), shared)

    def _ids(self, segment: Segment, cut: int = 0) -> list[int]:
        ids = (self._markup if segment.markup else self._data)[segment.text]
        return ids[:-cut] if cut else ids

    def _tokenise(self, texts: list[str], markup: bool) -> list[list[int]]:
        if isinstance(self._backend, EncodesBatches):
            return self._backend.encode_batch(texts, markup=markup)
        return [self._backend.encode(text, markup=markup) for text in texts]


def _last_index(segments: Sequence[Segment], wanted: Segment | None) -> int:
    """Where `wanted` stands last among the segments; -1 where it does not."""
    return max((n for n, segment in enumerate(segments) if segment == wanted), default=-1)
