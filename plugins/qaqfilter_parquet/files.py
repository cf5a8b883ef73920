"""Parquet files as batches of rows, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from qaqfilter import SourceError
from qaqfilter.input_files import InputFile
from qaqfilter.printable import printable

_BUFFER = 1 << 20  # bytes of a column that are read ahead, instead of a row group's whole column


@contextmanager
def opened(source: InputFile) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`. Raises SourceError where it is none, or cut short."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as closing:
        try:
            # Arrow opens what is here by itself, without a Python file between.
            place = source.path or closing.enter_context(source.open(seeks=True))
            file = pq.ParquetFile(
                place, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            raise _no_parquet(source, error) from None
        yield closing.enter_context(file)


def _no_parquet(source: InputFile, error: Exception) -> SourceError:
    if isinstance(error, OSError) and error.errno is not None:
        return SourceError(f"{source}: {error.strerror or error}")
    return SourceError(
        f"{source}: no parquet file, or one cut short ({_first_line(error)}); get it anew"
    )


def batches(source: InputFile, rows: int) -> Iterator[Any]:
    """Record batches of at most `rows` rows. Raises SourceError, with the row reached."""
    import pyarrow as pa

    done = 0
    with opened(source) as file:
        # One row group after the other: Arrow cannot join the dictionaries of two where a
        # dictionary stands inside a struct.
        found = (
            batch
            for group in range(file.num_row_groups)
            for batch in file.iter_batches(batch_size=rows, row_groups=[group])
        )
        while True:
            try:
                batch = next(found, None)
            except pa.ArrowNotImplementedError as error:
                raise SourceError(
                    f"{source}: Arrow cannot read the rows after {done} ({_first_line(error)}); "
                    "write the file anew with simpler columns"
                ) from None
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise _no_parquet(source, error) from None
                raise SourceError(
                    f"{source}: damaged after row {done} ({_first_line(error)}); get the file anew"
                ) from None
            if batch is None:
                return
            done += batch.num_rows
            yield batch


def check_schemas(files: list[InputFile]) -> None:
    """Raises SourceError where a file has other columns than the first, or two of one name."""
    first: Any = None
    for file in files:
        with opened(file) as table:
            schema = table.schema_arrow
        if len(set(schema.names)) < len(schema.names):
            twice = next(name for name in schema.names if schema.names.count(name) > 1)
            raise SourceError(f"{file}: two columns are called {twice!r}; rename one")
        first = schema if first is None else first
        if not schema.equals(first, check_metadata=False):
            raise SourceError(
                f"{file}: {_difference(schema, first)} in {printable(files[0].part)}; all files of "
                "an input have the same columns in the same order: read them in a run each, or "
                f"write {printable(file.part)} anew"
            )


def _difference(schema: Any, first: Any) -> str:
    for name in schema.names:
        if name not in first.names:
            return f"column {name!r} is not"
    for name in first.names:
        if name not in schema.names:
            return f"column {name!r} is missing, which is"
        if schema.field(name).type != first.field(name).type:
            return f"column {name!r} is {schema.field(name).type}, not {first.field(name).type} as"
        if schema.field(name).nullable != first.field(name).nullable:
            return f"column {name!r} may be null here and not there, or the other way round, as"
    return "the columns are in another order than"


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return printable(text[0].rstrip(". ") if text else type(error).__name__)
