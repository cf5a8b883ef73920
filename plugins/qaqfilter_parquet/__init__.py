"""Parquet as input and as output: values, types, order of columns and metadata stay."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Sink, Source, hookimpl
from qaqfilter_parquet.sink import ParquetSink, ParquetSinkOptions
from qaqfilter_parquet.source import ParquetSource, ParquetSourceOptions

__all__ = ["qaqfilter_sinks", "qaqfilter_sources"]


@hookimpl
def qaqfilter_sources() -> Iterator[Component[Source]]:
    """``input: {use: parquet}``."""
    summary = "parquet files, in batches of rows"
    yield Component("parquet", ParquetSourceOptions, ParquetSource, summary)


@hookimpl
def qaqfilter_sinks() -> Iterator[Component[Sink]]:
    """``output: {use: parquet}``."""
    summary = "parquet with the input's schema; rejected records with the reason"
    yield Component("parquet", ParquetSinkOptions, ParquetSink, summary)
