"""`qaqfilter.score` and `qaqfilter.select`: from records to a table, from a table to decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qaqfilter.arrow_columns import (
    likelihood_arrays,
    likelihood_column,
    number_arrays,
    units_of,
    words,
)
from qaqfilter.arrow_tokens import ENDING, put_token_array, token_arrays
from qaqfilter.asking import Models
from qaqfilter.chain import Chain
from qaqfilter.columns import Columns
from qaqfilter.details import detailed
from qaqfilter.errors import NotScored, UsageError
from qaqfilter.in_memory import PART, InMemory, recipe_of, rows_of
from qaqfilter.input_parts import InputPart
from qaqfilter.manager import PluginManager
from qaqfilter.protocols import Source
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer
from qaqfilter.selectors import Need
from qaqfilter.stream import RecordStream
from qaqfilter.types import LIKELIHOODS, BadRecord, Ints
from qaqfilter.wanting import Asked


def _stream(recipe: Recipe, observer: Observer) -> RecordStream:
    stream = RecordStream(recipe.source.make(), recipe.input, plugin=recipe.source.plugin)
    stream.survey(_refuse_bad, observer.advanced)
    return stream


def _refuse_bad(bad: BadRecord) -> None:
    raise UsageError(f"{bad.origin}: {bad.error}")


def score_records(
    records: Any,
    manager: PluginManager,
    observer: Observer,
    *,
    models: Mapping[str, Mapping[str, Any]],
    likelihoods: Sequence[str],
    rest: Mapping[str, Any],
) -> Any:
    """See `qaqfilter.score`; `rest` holds further blocks of the recipe."""
    import pyarrow as pa

    unknown = [name for name in likelihoods if name not in LIKELIHOODS]
    if unknown:
        raise UsageError(
            f"no likelihood is called {unknown[0]!r}; there are: {', '.join(LIKELIHOODS)}"
        )
    plugin = InMemory(rows_of(records), [Need(m, name) for m in models for name in likelihoods])
    steps = [{"id": "all", "use": "likelihoods"}]
    recipe = recipe_of(manager, plugin, "score", {"models": dict(models), "steps": steps, **rest})
    stream = _stream(recipe, observer)
    columns = Columns(stream.records, units=stream.units)
    ask = Models(recipe, manager, observer, stream, columns, lambda: None)
    for model in models:
        for name in likelihoods:  # where there are no records, nobody else makes the columns
            columns.likelihood(f"{model}.{name}")
    asked = [Asked(recipe.steps[0], model, likelihoods) for model in models]
    ask(asked, np.arange(stream.records, dtype=np.int64))
    ids = pa.array([record.id for record in stream.read()], pa.string())
    tokens = token_arrays(columns, columns.starts, 0, columns.size)
    return pa.table({"id": ids} | dict(likelihood_arrays(columns, 0, columns.size)) | dict(tokens))


def select_rows(
    table: Any,
    steps: Sequence[Mapping[str, Any]],
    manager: PluginManager,
    observer: Observer,
    *,
    records: Any,
    rest: Mapping[str, Any],
) -> Any:
    """See `qaqfilter.select`; `rest` holds further blocks of the recipe."""
    import pyarrow as pa

    columns = _columns(table)
    names = dict.fromkeys(name.split(".")[0] for name in columns.likelihoods)
    plugin = InMemory(_no_text if records is None else rows_of(records))
    data = {"models": {name: {"use": "scored_before"} for name in names}, "steps": [*steps]}
    recipe = recipe_of(manager, plugin, "select", data | dict(rest))
    _take_tokens(table, columns, detailed(recipe))
    if records is None:
        source: Source = recipe.source.make()
        stream = RecordStream(source, recipe.input, parts=[InputPart(PART, columns.size, 0, "")])
    else:
        stream = _stream(recipe, observer)
        _check_same(table, stream)
    chain = Chain(recipe, manager, observer, stream, columns, _Refuse(columns, detailed(recipe)))
    chain.decide_all()
    fates = chain.fates
    kept = fates.step < 0
    return pa.table(
        {
            "kept": pa.array(kept),
            "step": words(fates.step, fates.steps, kept),
            "reason": words(fates.reason, fates.reasons, kept),
            "value": pa.array(fates.value, mask=np.isnan(fates.value)),
            "bound": pa.array(fates.bound, mask=np.isnan(fates.bound)),
        }
        | dict(number_arrays(columns, slice(None)))
    )


def _columns(table: Any) -> Columns:
    """The likelihoods of a table by `score`, or of a scores.parquet."""
    columns = Columns(len(table))
    for name in table.column_names:
        base = name.removesuffix(".logprob")
        if base == name or f"{base}.tokens" not in table.column_names:
            continue
        columns.units = columns.units or units_of(table[f"{base}.tokens"])
        columns.likelihoods[base] = likelihood_column(table.column, base)
    return columns


def _take_tokens(table: Any, columns: Columns, wanted: frozenset[str]) -> None:
    """The tokens that are wanted; a likelihood that is there without them counts as lacking."""
    for name in sorted(wanted):
        if name + ENDING not in table.column_names:
            columns.likelihoods.pop(name, None)
        elif name in columns.likelihoods:
            first = 0
            for piece in table[name + ENDING].chunks:
                try:
                    put_token_array(columns, name, first, piece)
                except ValueError as error:
                    raise UsageError(f"the table: {error}") from error
                first += len(piece)


def _no_text() -> Iterator[Mapping[str, Any]]:
    raise UsageError(
        "a step looks at the text, and a table of numbers has none: give select the records too, "
        "records=..."
    )


def _check_same(table: Any, stream: RecordStream) -> None:
    ids = [record.id for record in stream.read()]
    if ids != (table["id"].to_pylist() if "id" in table.column_names else ids[: len(table)]):
        raise UsageError(
            f"the {len(ids)} records are not those of the table's {len(table)} rows, in order"
        )


class _Refuse:
    """Stands where the models stand in a run: says what the table lacks."""

    def __init__(self, columns: Columns, detailed: frozenset[str]) -> None:
        self._columns, self._detailed = columns, detailed

    def __call__(self, asked: Sequence[Asked], rows: Ints) -> None:
        """Raise NotScored."""
        step, model, likelihoods = asked[0]
        view = step.view(model)
        by_token = any(f"{view}.{name}" in self._detailed for name in likelihoods)
        lacking = (self._columns.unscored(f"{view}.{name}", rows) for name in likelihoods)
        raise NotScored(
            f"step {step.id!r} needs {', '.join(likelihoods)} of model {model!r}, and the table "
            f"lacks them for {max(map(len, lacking))} of the {len(rows)} records that get there: "
            "ask for them with qaqfilter.score"
            + (', with detail: "tokens" in the model\'s block' if by_token else "")
        )
