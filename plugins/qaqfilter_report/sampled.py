"""The sampled records as the page's script sees them: numbers of the charts, and a line of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qaqfilter import Record
from qaqfilter.finished import Finished
from qaqfilter.types import Ints
from qaqfilter_report.cards import short
from qaqfilter_report.charts import Chart
from qaqfilter_report.code import escaped

LINE = 70
"""Characters of an id or a query in a list."""
DIGITS = 6


def sampled(
    run: Finished, rows: Ints, records: Mapping[int, Record], charts: Sequence[Chart]
) -> dict[str, Any]:
    """One entry a sampled record in each list; `columns` are those that charts can select by."""
    names = dict.fromkeys(axis.column for chart in charts for axis in chart.pick)
    outcomes: dict[str, int] = {}
    fates = [outcomes.setdefault(outcome_of(run, row), len(outcomes)) for row in rows.tolist()]
    return {
        "rows": rows.tolist(),
        "labels": [_line(records[row].id) for row in rows.tolist()],
        "queries": [_line(records[row].query) for row in rows.tolist()],
        "columns": {name: _numbers(run.numbers(name)[rows]) for name in names},
        "fate": fates,
        "fates": [*outcomes],
    }


def outcome_of(run: Finished, row: int) -> str:
    """`kept`, or the step and its reason."""
    rejection = run.rejection(row)
    return "kept" if rejection is None else f"{rejection.step}: {rejection.reason}"


def _line(text: str) -> str:
    return escaped(short(" ".join(text[: 4 * LINE].split()), LINE))


def _numbers(values: np.ndarray) -> list[float | None]:
    """As JSON can have them: no infinities, and no more digits than anybody reads."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values.tolist()]
