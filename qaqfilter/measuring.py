"""What steps take from the text alone: measured numbers and words, the fields they group by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qaqfilter.columns import Columns, Measured
from qaqfilter.deciding import is_filter, measure_step
from qaqfilter.errors import QaqfilterError
from qaqfilter.groups import word_of
from qaqfilter.recipe import Step
from qaqfilter.reports import Observer
from qaqfilter.row_fields import find
from qaqfilter.selectors import Labels, Measures
from qaqfilter.stream import RecordStream
from qaqfilter.types import Bools, Ints, Record, Window

Verdict = Callable[[Step, Ints], Bools]
"""Which of some rows a filter keeps."""


def looks_at_text(step: Step) -> bool:
    """Whether the step takes anything from the text itself."""
    return isinstance(step.selector, Measures) or _field(step) is not None


def _field(step: Step) -> str | None:
    """The field of the record by which the step groups."""
    return step.keys.group if step.group_column is None else None


def _words(step: Step) -> list[str]:
    """The columns of words that the step takes from the text."""
    names = [*step.selector.labels] if isinstance(step.selector, Labels) else []
    return [f"{step.id}.{name}" for name in [*names, *(["group"] if _field(step) else [])]]


def _unread(step: Step, rows: Ints, columns: Columns) -> Ints:
    """Those of `rows` from whose text the step has not taken all that it takes now."""
    here = all(name in columns.groups for name in _words(step))
    return columns.unmeasured(step.id, rows) if here else rows


def measure(
    steps: Sequence[Step],
    rows: Ints,
    stream: RecordStream,
    columns: Columns,
    observer: Observer,
    *,
    window: int,
    keeps: Verdict | None,
) -> None:
    """One read for all that these steps take from the text of `rows`; none where all is known.

    What a filter throws out by `keeps` the next step does not measure; without `keeps` every
    step measures every row.
    """
    wanted = [step for step in steps if looks_at_text(step)]
    while wanted and not len(_unread(wanted[0], rows, columns)):
        step = wanted.pop(0)
        if keeps is not None and is_filter(step):
            rows = rows[keeps(step, rows)]
    if not wanted:
        return
    for step in wanted:
        columns.measured.setdefault(step.id, Measured(np.zeros(columns.size, dtype=np.bool_)))
        for name in _words(step):
            columns.group(name)
    observer.started(f"measuring ({', '.join(step.id for step in wanted)})", len(rows))
    for here in stream.windows(rows, window):
        left = here
        for step in wanted:
            _take(step, left, columns)
            if keeps is not None and is_filter(step):
                left = _survivors(left, keeps(step, left.rows))
        observer.advanced(len(here.rows), 0)
    observer.finished()


def _take(step: Step, window: Window, columns: Columns) -> None:
    measured = columns.measured[step.id]
    measured.rows[window.rows] = True
    field = _field(step)
    for row, record in zip(window.rows, window.records, strict=True):
        if isinstance(step.selector, Measures):
            numbers, words = measure_step(step, record)
            for name, value in numbers.items():
                measured.names.add(name)
                columns.number(f"{step.id}.{name}")[row] = value
            for name, word in words.items():
                columns.group(f"{step.id}.{name}").put(row, word_of(word))
        if field is not None:
            columns.group(f"{step.id}.group").put(row, _value(step, field, record))


def _value(step: Step, field: str, record: Record) -> str | None:
    try:
        return word_of(find(record.fields, field))
    except ValueError as error:
        raise QaqfilterError(
            f"step {step.id!r}: field {field!r} of the record at {record.origin} {error}"
        ) from error


def _survivors(window: Window, kept: Bools) -> Window:
    records = tuple(r for r, keep in zip(window.records, kept, strict=True) if keep)
    return Window(window.index, window.rows[kept], records)
