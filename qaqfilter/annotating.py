"""`output.annotate`: the numbers of a kept record, written beside its own fields.

    {"query": "Add.", "answer": "a + b", "qaq": {"strong": {"query": 2.1}, "rmi": {"rmi": 1.3}}}

Which numbers these are goes by the recipe alone: for each model the likelihoods that a step needs,
in nats per token, and for each step its columns. So `select` writes what `run` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from qaqfilter.columns import Columns
from qaqfilter.errors import SourceError
from qaqfilter.fates import AT_ONCE
from qaqfilter.protocols import Source
from qaqfilter.recipe import Recipe
from qaqfilter.sinks import Annotates, Numbers, Sink
from qaqfilter.types import BadRecord, Floats, Record


def annotated_columns(recipe: Recipe) -> dict[str, list[str]]:
    """The names of a record's numbers: likelihoods by model, then columns by step.

    A model that a step asks with a prompt of its own is called ``<step>@<model>``.
    """
    found: dict[str, dict[str, None]] = {}
    for step in recipe.steps:
        for model, likelihood in step.needs:
            found.setdefault(step.view(model), {})[likelihood] = None
    named = {view: list(found[view]) for view in sorted(found)}
    return named | {step.id: list(step.selector.columns) for step in recipe.steps}


class Annotator:
    """The numbers of a record by its row; rows are asked for in ascending order."""

    def __init__(self, recipe: Recipe, columns: Columns) -> None:
        self.named = annotated_columns(recipe)
        self._columns = columns
        steps = {step.id for step in recipe.steps}
        self._likelihoods = {
            f"{owner}.{name}": columns.pooled(f"{owner}.{name}")
            for owner, names in self.named.items()
            if owner not in steps
            for name in names
        }
        self._first = -1
        self._values: dict[str, dict[str, list[float]]] = {}

    def __call__(self, row: int) -> Numbers:
        """None where a number is undefined or was not computed."""
        first = row - row % AT_ONCE
        if first != self._first:
            self._first, here = first, slice(first, first + AT_ONCE)
            self._values = {
                owner: {name: self._at(f"{owner}.{name}", here).tolist() for name in names}
                for owner, names in self.named.items()
            }
        at = row - first
        return {
            owner: {
                # NaN is the one number that is not itself.
                name: value if (value := values[at]) == value else None
                for name, values in owned.items()
            }
            for owner, owned in self._values.items()
        }

    def _at(self, name: str, rows: slice) -> Floats:
        column = self._likelihoods.get(name)
        return self._columns.number(name)[rows] if column is None else column.take(rows).nll


def annotated(sink: Sink, recipe: Recipe, columns: Columns) -> Annotator | None:
    """Prepare a sink for numbers, where the recipe asks for them."""
    if recipe.output.annotate is None:
        return None
    assert isinstance(sink, Annotates), "the recipe was checked"
    numbers = Annotator(recipe, columns)
    sink.annotate(recipe.output.annotate, numbers.named)
    return numbers


def annotatable(source: Source, recipe: Recipe) -> Source:
    """The source; a record that has the field already ends every read of it, the first one too.

    So nothing is scored in vain, and nothing of the record's own is lost.
    """
    name = recipe.output.annotate
    return source if name is None else _Without(source, name)


class _Without:
    def __init__(self, source: Source, name: str) -> None:
        self._source, self._name = source, name

    def read(self) -> Iterator[Record | BadRecord]:
        for item in self._source.read():
            if isinstance(item, Record) and self._name in _fields(item):
                raise SourceError(
                    f"{item.origin}: there is a field {self._name!r} already, where "
                    "output.annotate would put the numbers; name another one, as in --set "
                    f"output.annotate={self._name}_scores"
                )
            yield item


def _fields(record: Record) -> Mapping[str, object]:
    if record.fields:
        return record.fields
    found = orjson.loads(record.row)
    return found if isinstance(found, dict) else {}
