"""JSON lines, one object a line, and JSON arrays of objects; plain or compressed, in and out."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Sink, Source, hookimpl
from qaqfilter_jsonl.sink import JsonlSink, JsonlSinkOptions, JsonSink, JsonSinkOptions
from qaqfilter_jsonl.source import JsonlSource, JsonlSourceOptions, JsonSource, JsonSourceOptions

__all__ = ["qaqfilter_sinks", "qaqfilter_sources"]


@hookimpl
def qaqfilter_sources() -> Iterator[Component[Source]]:
    """``input: {use: jsonl}`` and ``input: {use: json}``."""
    summary = "JSON lines: .jsonl, .jsonl.gz, .jsonl.zst"
    yield Component("jsonl", JsonlSourceOptions, JsonlSource, summary)
    summary = "one JSON array of objects a file: .json, .json.gz, .json.zst"
    yield Component("json", JsonSourceOptions, JsonSource, summary)


@hookimpl
def qaqfilter_sinks() -> Iterator[Component[Sink]]:
    """``output: {use: jsonl}`` and ``output: {use: json}``."""
    summary = "JSON lines: kept records byte for byte, rejected ones with the reason"
    yield Component("jsonl", JsonlSinkOptions, JsonlSink, summary)
    summary = "a JSON array: kept records byte for byte, rejected ones with the reason"
    yield Component("json", JsonSinkOptions, JsonSink, summary)
