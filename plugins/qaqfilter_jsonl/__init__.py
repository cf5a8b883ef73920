"""JSON lines: one JSON object a line, plain or compressed, as input and as output."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Sink, Source, hookimpl
from qaqfilter_jsonl.sink import JsonlSink, JsonlSinkOptions
from qaqfilter_jsonl.source import JsonlSource, JsonlSourceOptions

__all__ = ["qaqfilter_sinks", "qaqfilter_sources"]


@hookimpl
def qaqfilter_sources() -> Iterator[Component[Source]]:
    """``input: {use: jsonl}``."""
    summary = "JSON lines: .jsonl, .jsonl.gz, .jsonl.zst"
    yield Component("jsonl", JsonlSourceOptions, JsonlSource, summary)


@hookimpl
def qaqfilter_sinks() -> Iterator[Component[Sink]]:
    """``output: {use: jsonl}``."""
    summary = "JSON lines: kept records byte for byte, rejected ones with the reason"
    yield Component("jsonl", JsonlSinkOptions, JsonlSink, summary)
