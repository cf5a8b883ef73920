"""Rows of a data set as Arrow batches, in the types of its features and with them as metadata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qaqfilter import SourceError
from qaqfilter.printable import printable
from qaqfilter_datasets.splits import Rows


def features_of(rows: Rows, name: str) -> Any:
    """The features of some rows: where a stream does not say, those of its first ones.

    Raises SourceError, calling the data set `name`, where it cannot be read.
    """
    if rows.data.features is not None:
        return rows.data.features
    from datasets import Features

    tables = _tables(rows, 1000, name)
    table = next(tables, None)
    return Features() if table is None else Features.from_arrow_schema(table.schema)


def batches(rows: Rows, size: int, name: str) -> Iterator[Any]:
    """Record batches of at most `size` rows, undecoded. Raises SourceError, with the row."""
    from datasets.table import table_cast

    schema, done = rows.features.arrow_schema, 0
    for table in _tables(rows, size, name):
        if table.schema.equals(schema):
            typed = table.replace_schema_metadata(schema.metadata)
        else:
            try:
                typed = table_cast(table, schema)
            except (ValueError, TypeError) as error:
                raise SourceError(
                    f"{name}: the rows of {printable(rows.part)} after {done} are of other types "
                    f"than the first ones ({_first_line(error)}); read them without `streaming`, "
                    "or make their types the same"
                ) from error
        yield from typed.to_batches()
        done += table.num_rows


def _tables(rows: Rows, size: int, name: str) -> Iterator[Any]:
    data = rows.data
    if hasattr(data, "decode") and data.features is not None:
        # A stream decodes images before it makes tables; the features stay those of the input.
        data = data.decode(False)
    done = 0
    found = iter(data.with_format("arrow").iter(size))
    while True:
        try:
            table = next(found, None)
        except Exception as error:
            raise SourceError(
                f"{name}: {printable(rows.part)} cannot be read after row {done} "
                f"({_first_line(error)}); check the files, or get the data set anew"
            ) from error
        if table is None:
            return
        yield table
        done += table.num_rows


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return printable(text[0].rstrip(".")) if text else type(error).__name__
