"""What steps take from the text alone: measured numbers, and the fields they group by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qaqfilter.columns import Columns, Group, Measured
from qaqfilter.deciding import is_filter, measure_step
from qaqfilter.protocols import Measures
from qaqfilter.recipe import Step
from qaqfilter.reports import Observer
from qaqfilter.stream import RecordStream
from qaqfilter.types import Bools, Ints, Window

Verdict = Callable[[Step, Ints], Bools]
"""Which of some rows a filter keeps."""


def looks_at_text(step: Step) -> bool:
    """Whether the step takes anything from the text itself."""
    return isinstance(step.selector, Measures) or step.keys.group is not None


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
    while wanted and not len(columns.unmeasured(wanted[0].id, rows)):
        step = wanted.pop(0)
        if keeps is not None and is_filter(step):
            rows = rows[keeps(step, rows)]
    if not wanted:
        return
    codes: dict[str, dict[str | None, int]] = {}
    for step in wanted:
        columns.measured.setdefault(step.id, Measured(np.zeros(columns.size, dtype=np.bool_)))
        if step.keys.group is not None:
            # Codes are given in order of appearance: begun anew, since this read begins anew.
            columns.groups[step.id] = Group(np.full(columns.size, -1, dtype=np.int64))
            codes[step.id] = {}
    observer.started(f"measuring ({', '.join(step.id for step in wanted)})", len(rows))
    for here in stream.windows(rows, window):
        left = here
        for step in wanted:
            _take(step, left, columns, codes.get(step.id))
            if keeps is not None and is_filter(step):
                left = _survivors(left, keeps(step, left.rows))
        observer.advanced(len(here.rows), 0)
    observer.finished()


def _take(
    step: Step, window: Window, columns: Columns, codes: dict[str | None, int] | None
) -> None:
    measured = columns.measured[step.id]
    measured.rows[window.rows] = True
    if isinstance(step.selector, Measures):
        for row, record in zip(window.rows, window.records, strict=True):
            for name, value in measure_step(step, record).items():
                measured.names.add(name)
                columns.number(f"{step.id}.{name}")[row] = value
    if codes is not None and step.keys.group is not None:
        group = columns.groups[step.id]
        for row, record in zip(window.rows, window.records, strict=True):
            field = record.fields.get(step.keys.group)
            word = field if field is None or isinstance(field, str) else repr(field)
            if word not in codes:
                codes[word] = len(codes)
                group.words.append(word)
            group.codes[row] = codes[word]


def _survivors(window: Window, kept: Bools) -> Window:
    records = tuple(r for r, keep in zip(window.records, kept, strict=True) if keep)
    return Window(window.index, window.rows[kept], records)
