"""similarity = estimate of |A ∩ B| / |A ∪ B| for the shingles A of a record, B of one before it.

Records are taken in the order of the stream. One that is as similar as `threshold` to a record that
stays is dropped, so the earliest of a cluster stays. The estimate of a similarity J has a standard
error of about sqrt(J (1 - J) / permutations): 0.035 for J = 0.8 and 128 permutations. A record
without a shingle (an empty text) is nobody's duplicate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from qaqfilter import Decisions, Floats, Need, Paper, Record, Table, pack, packed_names, unpack
from qaqfilter_duplicates.clusters import near_ones
from qaqfilter_duplicates.minhash import shingles, signature
from qaqfilter_duplicates.wording import WordingOptions, drop, wording


class NearDuplicatesOptions(WordingOptions):
    """Options of `near_duplicates`."""

    threshold: float = Field(
        0.8, ge=0.5, le=1, description="How similar two records may not be, from 0.5 to 1."
    )
    unit: Literal["words", "characters"] = Field("words", description="What shingles are made of.")
    size: int = Field(3, ge=1, le=100, description="How many of them a shingle has.")
    permutations: int = Field(
        128,
        ge=64,
        le=1024,
        description="Bytes of a record's signature. Four times as many halve the error.",
    )


class NearDuplicates:
    """Columns: similarity, to the most similar record that was found; duplicate_of; cluster.

    `duplicate_of` is the place of the record that stays instead, null for one that stays; `cluster`
    the place of the one that stays, its own included. A place counts the records of the input from
    0, as the rows of scores.parquet do.
    """

    columns = ("similarity", "duplicate_of", "cluster")
    needs: tuple[Need, ...] = ()
    papers = (
        Paper("MinHash (Broder)", "https://doi.org/10.1109/SEQUEN.1997.666900"),
        Paper("b-bit minwise hashing", "https://arxiv.org/abs/0910.3349"),
    )

    def __init__(self, config: NearDuplicatesOptions) -> None:
        self.config = config
        self.packed = ("_shingles", *packed_names("signature", config.permutations))

    def measure(self, record: Record) -> Mapping[str, float]:
        """The signature, and how many shingles it is of."""
        found = shingles(wording(record, self.config), self.config.unit, self.config.size)
        packed = pack("signature", signature(found, self.config.permutations))
        return {"_shingles": float(len(found)), **packed}

    def score(self, table: Table) -> Mapping[str, Floats]:
        """`similarity` is null where no other record came near enough to be compared."""
        has = np.flatnonzero(table.column("_shingles") > 0)
        signatures = unpack(table, "signature", self.config.permutations)
        found = near_ones(signatures[has], self.config.threshold)
        similarity, duplicate_of = (np.full(len(table), np.nan) for _ in range(2))
        similarity[has] = found.similarity
        out = found.near >= 0
        duplicate_of[has[out]] = table.rows[has[found.near[out]]]
        cluster = np.where(np.isnan(duplicate_of), table.rows, duplicate_of)
        return {"similarity": similarity, "duplicate_of": duplicate_of, "cluster": cluster}

    def decide(self, table: Table) -> Decisions:
        """The value of a reject is the similarity, the bound the threshold."""
        return drop(table, "near_duplicate", "similarity", self.config.threshold)
