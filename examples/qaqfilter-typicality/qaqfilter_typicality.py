"""typicality = min(d(Q), d(A|Q)); d = 2 min(r, 1 - r); r = rank of nll(Q), of nll(A|Q) in its bin.

A record is typical where neither its query nor its answer stands out from those of its peers. r
is the fractional rank, (rank - 0.5) / n, so d is the depth of a number in its sample: 1 at the
median, near 0 at either end (Tukey, Mathematics and the picturing of data, 1975; twice the
halfspace depth in one dimension). nll(Q) is ranked among all records that reach the step; nll(A|Q)
among those whose queries are about as likely, in equal-count bins of nll(Q). So a plain query has
plain answers as its peers, and an odd one odd answers.

Only records that have both numbers are ranked; of the others all columns are null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qaqfilter import (
    Component,
    ModelName,
    Need,
    Options,
    Paper,
    Selector,
    Table,
    equal_count_bins,
    fractional_ranks,
    hookimpl,
)

Values = NDArray[np.float64]


class TypicalityOptions(Options):
    """Options of `typicality`."""

    model: ModelName
    bins: int = Field(
        5,
        ge=1,
        description="Bins of nll(Q) inside which answers are ranked; 1: among all records. A bin "
        "should hold 20 records or more.",
    )


class Typicality:
    """Columns: typicality, query_rank, answer_rank; pure numbers between 0 and 1."""

    columns = ("typicality", "query_rank", "answer_rank")
    papers = (Paper("Tukey depth", "https://en.wikipedia.org/wiki/Tukey_depth"),)

    def __init__(self, config: TypicalityOptions) -> None:
        self.bins = config.bins
        self.needs = (Need(config.model, "query"), Need(config.model, "answer_given_query"))

    def score(self, table: Table) -> Mapping[str, Values]:
        """Null in every column where either likelihood is."""
        # Records are compared with one another, so a conversation becomes one number first.
        query, answer = (table.combine(table.nll(*need)) for need in self.needs)
        lost = np.isnan(query) | np.isnan(answer)
        query, answer = (np.where(lost, np.nan, values) for values in (query, answer))
        query_rank = fractional_ranks(query)
        answer_rank = fractional_ranks(answer, equal_count_bins(query, self.bins))
        return {
            "typicality": np.minimum(depth(query_rank), depth(answer_rank)),
            "query_rank": query_rank,
            "answer_rank": answer_rank,
        }


def depth(rank: Values) -> Values:
    """1 at the median, towards 0 at the ends; null stays null."""
    found: Values = 2 * np.minimum(rank, 1 - rank)
    return found


@hookimpl
def qaqfilter_selectors() -> Iterator[Component[Selector]]:
    """Offer `typicality`."""
    yield Component(
        "typicality",
        TypicalityOptions,
        Typicality,
        "how near the middle of its peers a record's query and answer are",
    )
