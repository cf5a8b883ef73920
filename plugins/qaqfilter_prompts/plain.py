"""Both sides of a record as bare text, one after the other: what a base model reads best."""

from __future__ import annotations

from pydantic import Field

from qaqfilter import Backend, Options, PromptError, Record, Request, Resources, Segment


class PlainOptions(Options):
    """The bare text of both sides. A record's system text has no place in it."""

    separator: str = Field(
        "\n", description="What stands between the two sides; may be empty, or hold special tokens."
    )


class Plain:
    """`query` and `answer` stand alone; the other two have the separator before the target.

    Earlier turns of a conversation stand in front of all four, each with the separator behind it.
    A record's system text is left out: plain text has no place where a model would expect it.
    """

    def __init__(self, config: PlainOptions, backend: Backend, resources: Resources) -> None:
        separator = config.separator
        self._separator = (Segment(separator, markup=True),) if separator else ()

    def request(self, likelihood: str, record: Record) -> Request:
        """The request for one likelihood. Raises PromptError for an unknown name."""
        query, answer = Segment(record.query), Segment(record.answer)
        before: tuple[Segment, ...] = ()
        if record.history:
            before = tuple(
                piece for turn in record.history for piece in (Segment(turn.text), *self._separator)
            )
        match likelihood:
            case "query":
                return Request(before, query)
            case "answer":
                return Request(before, answer)
            case "answer_given_query":
                return Request((*before, query, *self._separator), answer)
            case "query_given_answer":
                return Request((*before, answer, *self._separator), query)
        raise PromptError(f"the plain format has no likelihood {likelihood!r}")
