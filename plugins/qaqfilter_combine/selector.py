"""combined = sum of w * r(column) / sum of |w|, over the columns of other steps.

r is the fractional rank, (rank - 0.5) / n, of a column among the records that reach the step, so
scores of any unit, and of any model, can be weighed against one another. Between -1 and 1, and
between 0 and 1 where no weight is negative. A negative weight says that low is good.

Only records that have all the columns are ranked; of the others the number is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from qaqfilter import ColumnWeights, Need, Options, Table, fractional_ranks


class CombineOptions(Options):
    """Options of `combine`."""

    of: Annotated[ColumnWeights, Field(min_length=1)] = Field(
        description="Columns of steps before this one with their weights: "
        "`{ifd.ifd_ppl: 1, rmi.rmi: -0.5}`. A negative weight: low is good.",
    )

    @field_validator("of")
    @classmethod
    def _weights(cls, value: dict[str, float]) -> dict[str, float]:
        if nothing := [name for name, weight in value.items() if weight == 0]:
            raise ValueError(f"the weight of {nothing[0]} is 0: leave it out")
        return value


class Combined:
    """Column: combined, a pure number."""

    columns = ("combined",)
    needs: tuple[Need, ...] = ()

    def __init__(self, config: CombineOptions) -> None:
        self.weights = config.of

    def score(self, table: Table) -> Mapping[str, NDArray[np.float64]]:
        """Null where one of the columns is."""
        values = [table.combine(table.column(name)) for name in self.weights]
        lost = np.isnan(values).any(axis=0)
        ranks = [fractional_ranks(np.where(lost, np.nan, column)) for column in values]
        weighed = sum(w * r for w, r in zip(self.weights.values(), ranks, strict=True))
        return {"combined": np.asarray(weighed) / sum(map(abs, self.weights.values()))}
