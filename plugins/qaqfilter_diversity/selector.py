"""gain = what a record adds to those picked before it: distance (k_center) or coverage of the data.

k_center picks the record farthest from all that are picked: it covers the edges, outliers too.
facility_location picks the one by which all records together gain most likeness to what is picked:
it covers the bulk. Both go by the cosine of embeddings of the text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from qaqfilter import (
    Decisions,
    Floats,
    Need,
    Paper,
    Record,
    Table,
    pack,
    packed_names,
    unpack,
)
from qaqfilter_diversity.embedding import embedded
from qaqfilter_diversity.options import DiversityOptions
from qaqfilter_diversity.picking import facility_location, k_center, unit_points

PAPERS = {
    "k_center": (
        Paper("k-center (Gonzalez)", "https://doi.org/10.1016/0304-3975(85)90224-5"),
        Paper("k-center for core-sets", "https://arxiv.org/abs/1708.00489"),
    ),
    "facility_location": (
        Paper("Greedy submodular selection", "https://doi.org/10.1007/BF01588971"),
        Paper("Lazy greedy (Minoux)", "https://doi.org/10.1007/BFb0006528"),
    ),
}


class Diversity:
    """Columns: gain; pick, which one this was (1, 2, ...), null for those that were not picked.

    Both are null for a text without an embedding, such as an empty one.
    """

    columns = ("gain", "pick")
    needs: tuple[Need, ...] = ()

    def __init__(self, config: DiversityOptions) -> None:
        self.config = config
        self.packed = packed_names("embedding", config.dimensions)
        self.papers = PAPERS[config.method]

    def measure(self, record: Record) -> Mapping[str, float]:
        """The embedding; of a conversation, of all exchanges that are scored."""
        sides = ("query", "answer") if self.config.of == "both" else (self.config.of,)
        text = "\n".join(getattr(one, side) for one in record.exchanges() for side in sides)
        return pack("embedding", embedded(text, self.config.model, self.config.dimensions))

    def score(self, table: Table) -> Mapping[str, Floats]:
        """Time grows with records times picks; for facility_location with records squared."""
        packed = unpack(table, "embedding", self.config.dimensions)
        has = np.flatnonzero(packed.any(axis=1))
        count = min(len(has), self._wanted(len(table)))
        gain, pick = (np.full(len(table), np.nan) for _ in range(2))
        if len(has):
            points = unit_points(packed[has])
            if self.config.method == "k_center":
                order, gain[has] = k_center(points, count, self.config.seed)
            else:
                order, gain[has] = facility_location(points, count)
            pick[has[order]] = np.arange(1, count + 1)
        return {"gain": gain, "pick": pick}

    def _wanted(self, records: int) -> int:
        """The decimal number that was written: 0.29 of 100 is 29, not 28."""
        if self.config.top is not None:
            return self.config.top
        return math.floor(Fraction(str(self.config.fraction)) * records)

    def decide(self, table: Table) -> Decisions:
        """The value is the gain, the bound of a reject that of the last one picked."""
        gain, kept = table.column("gain"), ~np.isnan(table.column("pick"))
        least = gain[kept].min(initial=np.inf)
        bound = np.where(kept | np.isnan(gain), np.nan, least if np.isfinite(least) else np.nan)
        reason = np.where(kept, 0, np.where(np.isnan(gain), 2, 1)).astype(np.int16)
        return Decisions(kept, reason, ("kept", self.config.method, "undefined"), gain, bound)
