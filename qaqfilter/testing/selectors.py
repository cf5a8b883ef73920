"""The contract of selectors: numbers that are declared, reproducible, and null where undefined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from qaqfilter.protocols import Component
from qaqfilter.selectors import Cites, Decides, Labels, Measures, Packs, Paper, Scores
from qaqfilter.table import Table
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.rules import rule
from qaqfilter.testing.samples import conversation, many_records, table_for
from qaqfilter.types import Decisions, Floats, Record

HOOK = "qaqfilter_selectors"
RULES = ("rules-for-selectors", "plugins.md")


class SelectorContract(ComponentContract):
    """Override `component`; `options`, `order_matters` and `other_columns` where they differ."""

    @pytest.fixture
    def order_matters(self) -> bool:
        """Whether the order of records may change scores, as which of two copies comes first."""
        return False

    @pytest.fixture
    def other_columns(self) -> Sequence[str]:
        """Columns of other steps, ``<step>.<column>``, that `score` reads."""
        return ()

    @pytest.fixture
    def selector(self, component: Component[Any], config: Any) -> Any:
        """The selector, made as a recipe makes it."""
        return component.create(config)

    @pytest.fixture
    def records(self) -> list[Record]:
        """What it is tried on: empty sides, odd letters, long texts and plain ones."""
        return many_records()

    @pytest.fixture
    def table(self, selector: Any, records: list[Record], other_columns: Sequence[str]) -> Table:
        """What `score` sees of them; every array is read-only, row 0 has no likelihood at all."""
        # What only measures never sees one.
        given = records if isinstance(selector, Scores) else []
        return table_for(selector, given, others=other_columns)

    @rule(HOOK)
    def test_it_has_columns_and_gives_them(self, selector: Any) -> None:
        """A selector names its `columns`, and has `measure(record)`, or `needs` and
        `score(table)`.
        """
        columns = list(selector.columns)
        assert columns and all(isinstance(name, str) and name for name in columns), columns
        assert len(set(columns)) == len(columns), f"a name stands twice in {columns}"
        taken = {"group", "measured"} & {*columns, *_labels(selector)}
        assert not taken, f"these names are taken: {taken}"
        lacks = "there is no `measure`, and not both of `needs` and `score`"
        assert isinstance(selector, Scores | Measures), lacks

    @rule(*RULES)
    def test_measure_gives_what_is_declared(self, selector: Any, records: list[Record]) -> None:
        """`measure` gives a number for every column (where there is no `score`) and packed name,
        and a word or None for every label, of any record.
        """
        columns = [] if isinstance(selector, Scores) else list(selector.columns)
        if not isinstance(selector, Measures):
            return
        packed = list(selector.packed) if isinstance(selector, Packs) else []
        labels = _labels(selector)
        for record in (*records, conversation()):
            found = dict(selector.measure(record))
            missing = {*columns, *packed, *labels} - {*found}
            assert not missing, f"{sorted(missing)} is missing of {record.query!r:.40}"
            for name, value in found.items():
                right = value is None or isinstance(value, str)
                right = right if name in labels else isinstance(value, int | float)
                assert right, f"{name} is {value!r} for {record.query!r:.40}"

    @rule(*RULES)
    def test_measure_remembers_nothing(
        self, component: Component[Any], config: Any, selector: Any, records: list[Record]
    ) -> None:
        """A measured number is a function of the record and the options: the same at every call,
        in any order, from another selector of the same options.
        """
        if isinstance(selector, Measures):
            first = [dict(selector.measure(record)) for record in records]
            back = [dict(selector.measure(record)) for record in reversed(records)][::-1]
            other = component.create(config)
            fresh = [dict(other.measure(record)) for record in reversed(records)][::-1]
            _same(first, back, "the same selector in another order")
            _same(first, fresh, "another selector of the same options")

    @rule(*RULES)
    def test_score_gives_the_declared_columns_in_order(self, selector: Any, table: Table) -> None:
        """`score` gives exactly the declared `columns`, in their order."""
        columns = list(selector.columns)
        if isinstance(selector, Scores):
            found = list(selector.score(table))
            assert found == columns, f"{columns} were declared, {found} given"

    @rule(*RULES)
    def test_columns_are_float64_with_one_value_a_row(self, selector: Any, table: Table) -> None:
        """Each column is a float64 array as long as the table."""
        if isinstance(selector, Scores):
            for name, values in selector.score(table).items():
                assert isinstance(values, np.ndarray), f"{name} is a {type(values).__name__}"
                assert values.dtype == np.float64, f"{name} is {values.dtype}"
                assert values.shape == (len(table),), f"{name}: {values.shape} of {len(table)} rows"

    @rule(*RULES)
    def test_records_with_several_rows_get_a_value_a_row_or_a_record(
        self, selector: Any, records: list[Record], other_columns: Sequence[str]
    ) -> None:
        """Where a record has a row for each exchange, a column has a value for each row or for
        each record.
        """
        if isinstance(selector, Scores) and selector.needs:
            counts = 1 + np.arange(len(records)) % 3
            table = table_for(selector, records, counts=counts, others=other_columns)
            for name, values in selector.score(table).items():
                fits = np.shape(values) in ((len(table),), (table.records,))
                sizes = f"{len(table)} rows of {table.records} records"
                assert fits, f"{name}: {np.shape(values)} for {sizes}"

    @rule(*RULES)
    def test_score_leaves_the_table_alone(self, selector: Any, table: Table) -> None:
        """The table is the run's own: nothing in it is changed, added or taken out."""
        if isinstance(selector, Scores):
            before = (dict(table.likelihoods), dict(table.columns), table.rows.copy())
            selector.score(table)
            assert dict(table.likelihoods) == before[0], "other likelihoods than before"
            assert {k: id(v) for k, v in table.columns.items()} == {
                k: id(v) for k, v in before[1].items()
            }, "other columns than before"
            assert np.array_equal(table.rows, before[2]), "other rows than before"

    @rule(*RULES)
    def test_undefined_is_nan(self, selector: Any, table: Table) -> None:
        """A score is NaN where every likelihood that it is made of is null, and never a number
        that looks like one.
        """
        first = selector.columns[0]
        if isinstance(selector, Scores) and selector.needs:
            values = selector.score(table)[first]
            assert np.isnan(values[0]), f"{first} is {values[0]} without likelihoods"
            assert not np.isnan(values).all(), "no row has a score, though likelihoods are there"

    @rule(*RULES)
    def test_score_remembers_nothing(
        self, component: Component[Any], config: Any, selector: Any, table: Table
    ) -> None:
        """A score is a function of the table and the options: the same at every call, and from
        another selector of the same options.
        """
        if isinstance(selector, Scores):
            first = [dict(selector.score(table))]
            _same(first, [dict(selector.score(table))], "the same selector again")
            _same(first, [dict(component.create(config).score(table))], "another selector")

    @rule(*RULES)
    def test_order_changes_nothing(
        self,
        selector: Any,
        table: Table,
        records: list[Record],
        other_columns: Sequence[str],
        order_matters: bool,
    ) -> None:
        """A record's score does not depend on where it stands. Where it must, as of the second of
        two copies, the fixture `order_matters` says so.
        """
        if isinstance(selector, Scores) and not order_matters:
            order = np.random.default_rng(1).permutation(len(records))
            moved = table_for(selector, records, order=order, others=other_columns)
            straight, turned = selector.score(table), selector.score(moved)
            for name in straight:
                one, two = (np.asarray(values[name]) for values in (straight, turned))
                for values in (one, two):
                    assert values.shape == (len(table),), (
                        f"{name}: {values.shape} of {len(table)} rows; each column is as long as "
                        "the table, so nothing can be compared"
                    )
                _equal(one[order], two, f"{name} in another order")

    @rule(HOOK)
    def test_decisions_fit_the_table(self, selector: Any, table: Table) -> None:
        """`decide` gives `Decisions` with an entry for each row; who is kept has reason 0, who is
        not has one of `reasons`.
        """
        if isinstance(selector, Decides):
            if isinstance(selector, Scores):
                table.columns.update(selector.score(table))
            found = selector.decide(table)
            assert isinstance(found, Decisions), f"decide gave {found!r}"
            for name in ("kept", "reason", "value", "bound"):
                shape = np.shape(getattr(found, name))
                assert shape == (len(table),), f"{name}: {shape} for {len(table)} rows"
            assert ((found.reason == 0) == found.kept).all(), "reason 0 is for who is kept"
            assert (found.reason < len(found.reasons)).all(), f"only {list(found.reasons)}"

    @rule(HOOK)
    def test_papers_can_be_cited(self, selector: Any) -> None:
        """`papers` are `qaqfilter.Paper(name, url)`, with an address that a reader can open."""
        if isinstance(selector, Cites):
            for paper in selector.papers:
                assert isinstance(paper, Paper) and paper.name, f"{paper!r} is no Paper"
                assert paper.url.startswith("https://"), f"{paper.url!r} is no address"


def _labels(selector: object) -> list[str]:
    return list(selector.labels) if isinstance(selector, Labels) else []


def _same(one: list[dict[str, Any]], two: list[dict[str, Any]], where: str) -> None:
    for here, there in zip(one, two, strict=True):
        assert list(here) == list(there), f"{where}: {list(there)} instead of {list(here)}"
        for name, value in here.items():
            _equal(value, there[name], f"{name}, {where}")


def _equal(one: Floats | Any, two: Floats | Any, what: str) -> None:
    """Numbers may differ in the last digits: the order of a sum is nobody's promise."""
    if isinstance(one, str) or one is None:
        assert one == two, f"{what}: {two!r} instead of {one!r}"
    else:
        close = np.isclose(one, two, rtol=1e-9, atol=1e-12, equal_nan=True)
        assert np.all(close), f"{what}: {two!r} instead of {one!r}"
