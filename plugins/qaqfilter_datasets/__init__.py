"""Hugging Face data sets as input and as output: values, types and features stay.

    input: {use: datasets, path: my_data}
    output: {use: datasets, path: out}

`loading.py` opens a folder or a data set of the hub, `splits.py` says which of its rows are read,
`typed.py` gives them as Arrow batches with the features' types.
"""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Needs, Sink, Source, hookimpl
from qaqfilter_datasets.sink import DatasetsSink, DatasetsSinkOptions
from qaqfilter_datasets.source import DatasetsSource, DatasetsSourceOptions

__all__ = ["qaqfilter_sinks", "qaqfilter_sources"]

_NEEDS = Needs("qaqfilter[datasets]", ("datasets",))


@hookimpl
def qaqfilter_sources() -> Iterator[Component[Source]]:
    """``input: {use: datasets}``."""
    summary = "a Hugging Face data set: saved to disk, a folder of data files, or on the hub"
    yield Component("datasets", DatasetsSourceOptions, DatasetsSource, summary, _NEEDS)


@hookimpl
def qaqfilter_sinks() -> Iterator[Component[Sink]]:
    """``output: {use: datasets}``."""
    summary = "a saved Hugging Face data set with the input's features; rejected ones likewise"
    yield Component("datasets", DatasetsSinkOptions, DatasetsSink, summary, _NEEDS)
