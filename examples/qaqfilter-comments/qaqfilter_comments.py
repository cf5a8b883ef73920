"""comment_share = comment lines / lines of the answer; blank lines do not count."""

from collections.abc import Iterator, Mapping

from pydantic import Field

from qaqfilter import Component, Options, Record, Selector, hookimpl


class CommentsOptions(Options):
    """Options of `comments`."""

    markers: tuple[str, ...] = Field(
        ("#", "//"), min_length=1, description="What a comment line begins with."
    )


class Comments:
    """Column: comment_share, from 0 to 1; null where the answer has no line at all."""

    columns = ("comment_share",)

    def __init__(self, config: CommentsOptions) -> None:
        self.markers = config.markers

    def measure(self, record: Record) -> Mapping[str, float]:
        """The share in one record."""
        lines = [line.strip() for line in record.answer.splitlines() if line.strip()]
        comments = sum(line.startswith(self.markers) for line in lines)
        return {"comment_share": comments / len(lines) if lines else float("nan")}


@hookimpl
def qaqfilter_selectors() -> Iterator[Component[Selector]]:
    """Offer `comments`."""
    yield Component("comments", CommentsOptions, Comments, "share of comment lines in the answer")
