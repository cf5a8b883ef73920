"""tokens.parquet: one row a record, the log-probability of each token of its likelihoods.

    id, part, ordinal                which record it is, as in scores.parquet
    <view>.<likelihood>.logprobs     a list of float32, nats; null where the likelihood is undefined
                                     or was not computed (`turns: each`: a list of lists)

There are the likelihoods that a model's `detail: tokens` or a selector asked for, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from qaqfilter.arrow_tokens import ENDING, put_token_array, token_arrays
from qaqfilter.columns import Columns
from qaqfilter.row_files import PLACE, RowFile, about, opened_rows

TOKENS = "tokens.parquet"


class TokensFile(RowFile):
    """Writes the tokens of some likelihoods of a run."""

    chunk = 1_000

    def __init__(
        self, path: Path, columns: Columns, names: Sequence[str], input_digest: str
    ) -> None:
        described = {"format": 1, "input_digest": input_digest, "logprobs": list(names)}
        super().__init__(path, described)
        self._columns, self._names = columns, names

    def arrays(self, here: slice) -> Iterator[tuple[str, Any]]:
        """The tokens of the rows."""
        return token_arrays(self._columns, self._names, here.start, here.stop)

    def options(self) -> dict[str, Any]:
        """Bytes of one place side by side: signs and exponents, which are alike, pack well."""
        inner = ".list.element" * (1 if self._columns.units is None else 2)
        return {
            "use_dictionary": list(PLACE),
            "column_encoding": {
                f"{name}{ENDING}{inner}": "BYTE_STREAM_SPLIT" for name in self._names
            },
        }

    def take(self, source: Path) -> None:
        """All rows of an earlier file, of which this one has the same likelihoods or fewer."""
        chosen = [*PLACE, *(name + ENDING for name in self._names)]
        with opened_rows(source) as file:
            for batch in file.iter_batches(self.chunk, columns=chosen):
                self.write_rows({name: batch[name] for name in chosen})
            if not file.metadata.num_rows:
                table = file.read(chosen)
                self.write_rows({name: table[name] for name in chosen})


def likelihoods_in(path: Path, input_digest: str, rows: int) -> list[str]:
    """What a TokensFile holds of this input. Raises RunDirectoryError for another file."""
    with opened_rows(path) as file:
        described = orjson.loads(about(file))
        if described["input_digest"] != input_digest or file.metadata.num_rows != rows:
            raise ValueError("it is not of the run beside it")
        return [str(name) for name in described["logprobs"]]


def load_tokens(path: Path, columns: Columns, names: Sequence[str]) -> None:
    """Put the tokens of some likelihoods into the columns. Raises RunDirectoryError."""
    with opened_rows(path) as file:
        first = 0
        for batch in file.iter_batches(TokensFile.chunk, columns=[n + ENDING for n in names]):
            for name in names:
                put_token_array(columns, name, first, batch[name + ENDING])
            first += len(batch)
