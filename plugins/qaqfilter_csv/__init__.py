"""CSV and TSV as input and as output: kept rows leave byte for byte, quotes and all."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Sink, Source, hookimpl
from qaqfilter_csv.sink import CsvSink, CsvSinkOptions
from qaqfilter_csv.source import CsvSource, CsvSourceOptions

__all__ = ["qaqfilter_sinks", "qaqfilter_sources"]


@hookimpl
def qaqfilter_sources() -> Iterator[Component[Source]]:
    """``input: {use: csv}``."""
    summary = "tables as text with a header: .csv, .tsv, also .gz and .zst"
    yield Component("csv", CsvSourceOptions, CsvSource, summary)


@hookimpl
def qaqfilter_sinks() -> Iterator[Component[Sink]]:
    """``output: {use: csv}``."""
    summary = "csv: kept rows byte for byte, rejected ones with the reason"
    yield Component("csv", CsvSinkOptions, CsvSink, summary)
