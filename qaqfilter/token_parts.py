"""Tokens in the score store: for some of its scores, the log-probability of each token.

    <root>/<fingerprint>/tokens/<time>-<random>.parquet    key, logprobs (a list of float32)

They are parts like those of the sums, beside them: who wants sums reads none of this. Where a key
stands in several, the numbers of the lowest sum count, and of equal sums those whose bytes come
first: the same, then, in any order of the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qaqfilter.identity import KEY_BYTES
from qaqfilter.parts import key_array, keys_in, opened_part, read_columns, token_schema
from qaqfilter.tokens import TokenLogprobs, TokenValues


class TokenPart(NamedTuple):
    """What a file holds: keys [rows, KEY_BYTES] and the tokens of each."""

    keys: NDArray[np.uint8]
    logprobs: TokenLogprobs


class TokenParts:
    """The kind of these parts; they are joined until they hold about 10 MB of numbers."""

    folder = "tokens"
    target = 2_500_000

    def of(self, values: Mapping[bytes, TokenValues]) -> TokenPart:
        """At least one."""
        keys = np.frombuffer(b"".join(values), np.uint8).reshape(-1, KEY_BYTES)
        return TokenPart(keys, TokenLogprobs.of([*values.values()]))

    def write(self, file: BinaryIO, part: TokenPart) -> None:
        """Write a part as parquet. Raises OSError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        ends = np.cumsum(np.concatenate([[0], part.logprobs.lengths]))
        schema = token_schema()
        lists = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()),
            pa.array(part.logprobs.joined()),
            type=schema.field("logprobs").type,
        )
        table = pa.Table.from_arrays([key_array(part.keys), lists], schema=schema)
        pq.write_table(
            table,
            file,
            compression="zstd",
            # Bytes of one place side by side: signs and exponents, which are alike, pack well.
            use_dictionary=False,
            column_encoding={"logprobs.list.element": "BYTE_STREAM_SPLIT"},
            write_page_checksum=True,
        )

    def read(self, path: Path) -> TokenPart:
        """A part. Raises OSError or ValueError for a damaged file."""
        table = read_columns(path, ["key", "logprobs"])
        lists = table["logprobs"].combine_chunks()
        values = np.asarray(lists.flatten(), dtype=np.float32)
        lengths = np.asarray(lists.value_lengths(), dtype=np.int64)
        if not (np.isfinite(values) & (values <= 0)).all() or not (lengths > 0).all():
            raise ValueError("some of its numbers cannot be")
        starts = np.cumsum(lengths) - lengths
        return TokenPart(keys_in(table), TokenLogprobs(values, starts, lengths))

    def value(self, part: TokenPart, row: int) -> TokenValues:
        """A copy, so that the rest of the part need not stay in memory."""
        return part.logprobs[row].copy()

    def better(self, one: TokenValues, other: TokenValues) -> TokenValues:
        """Of the tokens of two computations those that count."""
        return min(one, other, key=_rank)

    def without_duplicates(self, parts: Iterable[TokenPart]) -> TokenPart:
        """All of some parts, in their order; of each key the tokens that count."""
        found: dict[bytes, TokenValues] = {}
        for part in parts:
            for key, values in zip(part.keys, part.logprobs, strict=True):
                name = key.tobytes()
                found[name] = self.better(found[name], values) if name in found else values
        return self.of(found)

    def weight(self, path: Path) -> int:
        """How many numbers a part holds, from its footer. Raises as `read`."""
        with opened_part(path) as file:
            groups = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
            return sum(int(group.column(1).num_values) for group in groups)


TOKENS = TokenParts()


def _rank(values: TokenValues) -> tuple[float, bytes]:
    return float(values.sum(dtype=np.float64)), values.tobytes()
