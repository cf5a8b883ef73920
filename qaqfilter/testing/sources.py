"""The contract of sources: the same things at every read, each in its place, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import Any

import orjson
import pytest

from qaqfilter.errors import SourceError
from qaqfilter.protocols import Component, ReadsParts, Source
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.rules import rule
from qaqfilter.types import BadRecord, Record

HOOK = "qaqfilter_sources"

Open = Callable[[dict[str, Any]], Source]


class SourceContract(ComponentContract):
    """Override `component` and `options`: three records at least, and no bad one.

    Then `bad_options`, of an input with a bad row before a good one, and `missing_options`, of an
    input that is not there. A source that has no such thing says so with None.
    """

    @pytest.fixture
    def bad_options(self) -> dict[str, Any] | None:
        """Options of an input with a bad row, and a good one behind it; or None."""
        raise NotImplementedError(
            "override the fixture `bad_options`; None where no row of the input can be bad"
        )

    @pytest.fixture
    def missing_options(self) -> dict[str, Any] | None:
        """Options of an input that is not there, or None where it is always there."""
        raise NotImplementedError(
            "override the fixture `missing_options`; None where the input cannot be missing"
        )

    @pytest.fixture
    def expected_rows(self) -> list[bytes] | None:
        """The rows of `options` as they stand in the input, where it has rows of bytes."""
        return None

    @pytest.fixture
    def open_source(self, component: Component[Any]) -> Open:
        """Makes a source with the given options, as a recipe does."""
        return lambda options: component.create(component.config.model_validate(options))

    @pytest.fixture
    def source(self, open_source: Open, options: dict[str, Any]) -> Source:
        """The source with `options`."""
        return open_source(options)

    @rule(HOOK)
    def test_it_streams_records_and_bad_records(self, source: Source) -> None:
        """`read()` is an iterator of `Record` and `BadRecord`, and of nothing else."""
        found = source.read()
        assert isinstance(found, Iterator), f"read() gave a {type(found).__name__}"
        items = list(found)
        kinds = {type(item).__name__ for item in items if not isinstance(item, Record | BadRecord)}
        assert not kinds, f"it yielded {kinds}"
        bad = [f"{one.origin}: {one.error}" for one in items if isinstance(one, BadRecord)]
        assert not bad, f"bad records, where `options` should have none: {bad[:3]}"
        assert len(items) >= 3, f"only {len(items)} records to test with"

    @rule(HOOK)
    def test_every_read_gives_the_same(
        self, source: Source, open_source: Open, options: dict[str, Any]
    ) -> None:
        """A run reads several times: each read yields the same things in the same order, and so
        does another source of the same options.
        """
        first = list(source.read())
        _same(first, list(source.read()), "the second read")
        _same(first, list(open_source(options).read()), "another source of the same options")

    @rule(HOOK)
    def test_a_read_may_be_left_early(self, source: Source) -> None:
        """A read that was left in the middle does not change the next one, which begins at the
        beginning.
        """
        first = list(source.read())
        left = source.read()
        some = list(islice(left, 2))
        _same(first, list(source.read()), "a read after one that was left")
        _same(first, some + list(left), "the read that was left, gone on with")

    @rule(HOOK)
    def test_parts_stand_together_and_ordinals_rise(self, source: Source) -> None:
        """`Origin.part` names what is read, one part after the other; `Origin.ordinal` rises
        inside of it, from 0.
        """
        parts = [(name, list(of)) for name, of in groupby(source.read(), _place)]
        names = [name for name, _ in parts]
        assert len(set(names)) == len(names), f"a part comes back after another: {names}"
        for name, items in parts:
            ordinals = [item.origin.ordinal for item in items]
            assert ordinals == list(range(len(items))), f"{name}: ordinals {ordinals[:20]}"

    @rule(HOOK)
    def test_a_part_alone_is_as_it_is_among_others(self, source: Source) -> None:
        """A source with `read_part` yields of each part what `read` does, at any time and in any
        order.
        """
        if isinstance(source, ReadsParts):
            parts = [(name, list(of)) for name, of in groupby(source.read(), _place)]
            for name, items in reversed(parts):
                _same(items, list(source.read_part(name)), f"read_part({name!r})")

    @rule(HOOK)
    def test_records_have_ids(self, source: Source) -> None:
        """`Record.id` is a text and never empty."""
        for one in _records(source):
            assert isinstance(one.id, str) and one.id, f"the id at {one.origin} is {one.id!r}"

    @rule(HOOK)
    def test_rows_are_json_lines(self, source: Source) -> None:
        """`Record.row` is bytes that any sink can write: a JSON object, also where the input has
        no such rows.
        """
        for one in _records(source):
            assert isinstance(one.row, bytes), f"the row at {one.origin} is no bytes: {one.row!r}"
            try:
                found = orjson.loads(one.row.removeprefix(b"\xef\xbb\xbf"))
            except orjson.JSONDecodeError:
                found = None
            assert isinstance(found, dict), f"the row at {one.origin} is {one.row!r:.60}, no object"

    @rule(HOOK)
    def test_rows_are_the_original(self, source: Source, expected_rows: list[bytes] | None) -> None:
        """`Record.row` is the original, byte for byte, white space and line end included."""
        if expected_rows is not None:
            rows = [one.row for one in _records(source)]
            assert rows == expected_rows, f"{rows!r} instead of {expected_rows!r}"

    @rule(HOOK)
    def test_texts_and_fields_are_whole(self, source: Source) -> None:
        """`query` and `answer` are texts, and `fields` is the parsed row, for `group` to name."""
        for one in _records(source):
            texts = {type(one.query), type(one.answer)}
            assert texts == {str}, f"query and answer at {one.origin} are {texts}"
            assert one.fields, f"the record at {one.origin} has no fields"
            assert all(isinstance(name, str) for name in one.fields), f"fields: {one.fields!r:.80}"

    @rule(HOOK)
    def test_a_bad_row_is_a_bad_record(
        self, open_source: Open, bad_options: dict[str, Any] | None
    ) -> None:
        """A single bad row is a `BadRecord` with a reason and its bytes, and what follows is read:
        the recipe decides how many bad rows are too many.
        """
        if bad_options is None:
            return
        items = list(open_source(bad_options).read())
        bad = [n for n, item in enumerate(items) if isinstance(item, BadRecord)]
        assert bad, "no BadRecord came of an input that has a bad row"
        assert any(isinstance(item, Record) for item in items[bad[0] :]), (
            "nothing was read after it"
        )
        for item in items:
            if isinstance(item, BadRecord):
                assert item.error.strip(), f"no reason at {item.origin}"
                assert isinstance(item.row, bytes), f"its row is {item.row!r:.60}, no bytes"

    @rule(HOOK)
    def test_making_it_reads_nothing(
        self, open_source: Open, missing_options: dict[str, Any] | None
    ) -> None:
        """A source is made when a recipe is validated, so it opens nothing before `read`."""
        if missing_options is not None:
            open_source(missing_options)

    @rule(HOOK)
    def test_missing_input_is_a_source_error(
        self, open_source: Open, missing_options: dict[str, Any] | None
    ) -> None:
        """Where the input cannot be opened, `read` raises `SourceError`, which says what is
        missing.
        """
        if missing_options is None:
            return
        try:
            source = open_source(missing_options)
        except Exception:  # noqa: BLE001 - another rule's affair
            return
        try:
            found = list(source.read())
        except SourceError as error:
            assert str(error).strip(), "the error says nothing"
            return
        raise AssertionError(f"it read {found!r:.80}")


def _place(item: Record | BadRecord) -> str:
    return item.origin.part


def _records(source: Source) -> list[Record]:
    return [item for item in source.read() if isinstance(item, Record)]


def _same(first: list[Any], other: list[Any], which: str) -> None:
    # The row and the place are what a run compares; the rest follows from them, or should.
    sizes = f"{which} gave {len(other)} things, the first {len(first)}"
    assert len(other) == len(first), sizes
    for one, two in zip(first, other, strict=True):
        assert one == two, f"{which} gave {two!r:.200} where the first gave {one!r:.200}"
