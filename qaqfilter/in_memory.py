"""Records in memory as the input of a recipe like any other, so that its errors read alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from qaqfilter.errors import NotScored, UsageError
from qaqfilter.hookspecs import hookimpl
from qaqfilter.layout_options import LayoutOptions, find_layout
from qaqfilter.manager import PluginManager
from qaqfilter.options import Options
from qaqfilter.protocols import Backend, Component, Resources, Source
from qaqfilter.recipe import Recipe, build_recipe
from qaqfilter.selectors import Need, Selector
from qaqfilter.table import Table
from qaqfilter.types import (
    BadRecord,
    Floats,
    Origin,
    Record,
)
from qaqfilter.yamlfile import YamlFile

PART = "records"
AT_ONCE = 1000
"""Rows of a table or frame that are turned to Python's objects at a time."""
Rows = Callable[[], Iterator[Mapping[str, Any]]]


def rows_of(records: Any) -> Rows:
    """Reads dicts, as often as asked, from a table, a frame, a data set or an iterable of dicts.

    A pyarrow table, a pandas or polars frame and a `datasets.Dataset` are read where they are; any
    other iterable is copied into a list. Raises UsageError for what holds no mappings.
    """
    if hasattr(records, "iter_rows"):  # polars
        return lambda: records.iter_rows(named=True)
    if hasattr(records, "to_batches"):  # pyarrow
        return lambda: (
            row for batch in records.to_batches(max_chunksize=AT_ONCE) for row in batch.to_pylist()
        )
    if hasattr(records, "iloc"):  # pandas
        return lambda: (
            row
            for first in range(0, len(records), AT_ONCE)
            for row in records.iloc[first : first + AT_ONCE].to_dict("records")
        )
    if isinstance(records, str | bytes | Mapping):
        raise UsageError(
            f"records is a {type(records).__name__}; give an iterable of dicts, a pyarrow table, a "
            "pandas or polars frame, or a datasets.Dataset. For files there is qaqfilter.run"
        )
    rows = records if hasattr(records, "features") else list(records)
    return lambda: iter(rows)


class _Source:
    """The records at hand; the part is called `records`, ordinals count from 0."""

    def __init__(self, rows: Rows, options: LayoutOptions) -> None:
        self._rows, self._options = rows, options

    def read(self) -> Iterator[Record | BadRecord]:
        """Every row as a record or a bad record."""
        layout = find_layout(self._options, self._first())
        for ordinal, row in enumerate(self._rows()):
            origin = Origin(PART, ordinal)
            if not isinstance(row, Mapping):
                raise UsageError(f"{origin} is a {type(row).__name__}, not a dict: {row!r:.60}")
            fields = {str(key): value for key, value in row.items()}
            written = orjson.dumps(fields, default=repr, option=orjson.OPT_SERIALIZE_NUMPY)
            try:
                yield layout.read(fields).record(written, origin, fields)
            except ValueError as error:
                yield BadRecord(str(error), written, origin)

    def _first(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for ordinal, row in enumerate(self._rows()):
            if isinstance(row, Mapping):
                yield str(Origin(PART, ordinal)), row


class _AllOptions(Options):
    """The step behind `score` has none."""


class _All:
    """A step that needs every likelihood that is asked for, and decides nothing."""

    columns = ("nothing",)

    def __init__(self, needs: Sequence[Need]) -> None:
        self.needs = needs

    def score(self, table: Table) -> Mapping[str, Floats]:
        return {"nothing": np.full(len(table), np.nan)}


def _scored_before(config: Options, resources: Resources) -> Backend:
    """A model of which there are only numbers; the chain is refused before it gets here."""
    raise NotScored("a table has numbers of models, not the models")


class InMemory:
    """Offers what the recipe of a call is made of."""

    def __init__(self, rows: Rows, needs: Sequence[Need] = ()) -> None:
        self._rows, self._needs = rows, needs

    @hookimpl
    def qaqfilter_sources(self) -> Iterator[Component[Source]]:
        yield Component("records", LayoutOptions, lambda o: _Source(self._rows, o), "in memory")

    @hookimpl
    def qaqfilter_selectors(self) -> Iterator[Component[Selector]]:
        yield Component("likelihoods", _AllOptions, lambda o: _All(self._needs), "all of them")

    @hookimpl
    def qaqfilter_backends(self) -> Iterator[Component[Backend]]:
        yield Component("scored_before", Options, _scored_before, "numbers of a table")


def recipe_of(manager: PluginManager, plugin: InMemory, call: str, data: dict[str, Any]) -> Recipe:
    """The recipe of a call; `data` are its blocks but for the output. Raises RecipeError."""
    manager.register(plugin, f"qaqfilter.{call}", "qaqfilter")
    whole = {"version": 1, "name": call, "output": {"use": "jsonl", "path": "."}} | data
    return build_recipe(YamlFile(f"qaqfilter.{call}", whole), Path.cwd() / call, manager)
