"""One step over one table: columns from the selector, decisions from the keep rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qaqfilter.errors import PluginFailed, QaqfilterError
from qaqfilter.groups import Group
from qaqfilter.keep import decide, stratum_groups
from qaqfilter.quotas import Quotas
from qaqfilter.recipe import Step
from qaqfilter.selectors import Decides, Labels, Measures, Packs, Scores
from qaqfilter.table import Table
from qaqfilter.types import Decisions, Floats, Ints, Record, Status

UNDEFINED = len(Status)
"""Null code of a score that is undefined though all its likelihoods exist (0/0, say)."""
NULL_REASONS = (*(status.reason for status in Status), "undefined")


def is_filter(step: Step) -> bool:
    """Whether a record's fate in this step depends on the text of that record alone."""
    keep = step.keys.keep
    return not isinstance(step.selector, Scores | Decides) and keep is not None and keep.per_record


def is_scorer(step: Step) -> bool:
    """Whether this step drops nothing, so that the next may be scored in the same read."""
    return step.keys.keep is None and not isinstance(step.selector, Decides)


def group_steps(steps: Sequence[Step]) -> list[list[Step]]:
    """Split the chain into stretches that share their reads of the input.

    A stretch is any filters, then any score-only steps, then one step of any kind: so nothing
    is scored that an earlier step would have dropped.
    """
    stretches: list[list[Step]] = []
    current: list[Step] = []
    for step in steps:
        if current and is_filter(step) and not is_filter(current[-1]):
            stretches.append(current)
            current = []
        current.append(step)
        if not is_filter(step) and not is_scorer(step):
            stretches.append(current)
            current = []
    return [*stretches, current] if current else stretches


def score_step(step: Step, table: Table) -> Mapping[str, Floats]:
    """The step's columns, one value a record; checks that they are the declared ones, float64.

    A selector may give a value for each row of a table that has several for a record.
    """
    selector = step.selector
    found: Mapping[str, Floats]
    with step.block.plugin.blamed("score()", f"step {step.id!r}: "):
        if not len(table):  # nothing was measured either, so there are no columns to look at
            found = {name: np.empty(0) for name in selector.columns}
        elif isinstance(selector, Scores):
            found = dict(selector.score(table))
        else:
            found = {name: table.column(name) for name in selector.columns}
    if list(found) != list(selector.columns):
        raise _broke(step, f"declares the columns {list(selector.columns)} and gave {list(found)}")
    columns = {name: _numbers(step, name, values) for name, values in found.items()}
    for name, values in columns.items():
        if values.shape not in ((len(table),), (table.records,)):
            shape = f"column {name!r} has shape {values.shape} for a table of {len(table)} rows"
            raise _broke(step, f"gave another number of values than rows: {shape}")
        if len(values) != table.records:
            columns[name] = table.combine(values)
    # An infinite score is no score: it would win or lose every comparison.
    return {name: _finite_or_nan(values) for name, values in columns.items()}


def _numbers(step: Step, name: str, values: object) -> Floats:
    """A column as it is; what is no array of float64 is refused."""
    if isinstance(values, np.ndarray) and values.dtype == np.float64:
        return values
    kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
    raise _broke(
        step,
        f"gave no array of float64: column {name!r} is of {kind}. np.asarray(values, dtype=float) "
        "makes one of numbers; what is undefined is NaN",
    )


def _broke(step: Step, what: str) -> PluginFailed:
    return step.block.plugin.broke(what, f"step {step.id!r}: ")


def _finite_or_nan(values: Floats) -> Floats:
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def measure_step(
    step: Step, record: Record
) -> tuple[Mapping[str, float], Mapping[str, str | None]]:
    """What the step's selector takes from one record's text, numbers and words; checks them."""
    assert isinstance(step.selector, Measures)
    try:
        found = dict(step.selector.measure(record))
    except (QaqfilterError, KeyboardInterrupt):
        raise
    except BaseException as error:
        place = f"step {step.id!r}: {record.origin}: "
        raise step.block.plugin.failed("measure()", error, place) from error
    labels = tuple(step.selector.labels) if isinstance(step.selector, Labels) else ()
    packed = tuple(step.selector.packed) if isinstance(step.selector, Packs) else ()
    columns = () if isinstance(step.selector, Scores) else step.selector.columns
    wanted = (*columns, *packed, *labels)
    numbers = {n: value for n, value in found.items() if isinstance(value, int | float)}
    words = {n: value for n, value in found.items() if value is None or isinstance(value, str)}
    if {*words} != {*labels} or len(numbers) + len(words) != len(found) or {*wanted} - {*found}:
        raise _broke(step, _mismeasured(found, wanted, labels, record))
    return numbers, words


def _mismeasured(
    found: Mapping[str, object], wanted: Sequence[str], labels: Sequence[str], record: Record
) -> str:
    """What is wrong with measured values: names that are missing, else values of another kind."""
    missing = [name for name in wanted if name not in found]
    if missing:
        return (
            f"measured {list(found)} of the record at {record.origin}, and not {missing}, "
            "which it declares: what is undefined is NaN, and a word that there is not is None"
        )
    wrong = {
        name: value
        for name, value in found.items()
        if not isinstance(value, str | None if name in labels else int | float)
    }
    name, value = next(iter(wrong.items()))
    if name in labels:
        what = "a label is text or None"
    elif value is None:
        what = "a number that is undefined is NaN"
    elif isinstance(value, str):
        what = "what is a word has its name in `labels`"
    else:
        what = "every other value than a label is an int or a float"
    return f"measured {name!r} as {value!r} of the record at {record.origin}: {what}"


def decide_step(step: Step, table: Table, group: Group | None) -> Decisions:
    """Apply the step's keep rule to its first column. `table` holds the step's columns."""
    if isinstance(step.selector, Decides):
        return _decided(step, step.selector, table)
    values = table.column(f"{step.id}.{step.selector.columns[0]}")
    codes = _null_codes(step, table, values)
    if step.keys.keep is None:
        return _keep_all(values)
    name = strata_column(step)
    by = None if name is None else table.column(name)
    bins = step.keys.strata.bins if step.keys.strata else 1
    groups = stratum_groups(by, bins, None if group is None else group.codes)
    return decide(
        step.keys.keep, values, NULL_REASONS, codes, groups, quotas=quotas_of(step, group)
    )


def _decided(step: Step, selector: Decides, table: Table) -> Decisions:
    """What a selector decides by itself, if it fits the table."""
    with step.block.plugin.blamed("decide()", f"step {step.id!r}: "):
        found = selector.decide(table)
        arrays = (found.kept, found.reason, found.value, found.bound)
        sizes = [array.shape for array in arrays]
        fits = sizes == [(len(table),)] * len(arrays) and max(found.reason, default=0) < len(
            found.reasons
        )
    if not fits or ((found.reason == 0) != found.kept).any():
        raise _broke(
            step,
            f"decided about {sizes[0]} records by reasons {list(found.reasons)}, of a table of "
            f"{len(table)}: each row has one entry, and reason 0 if it is kept, else another of "
            "them",
        )
    return found


def strata_column(step: Step) -> str | None:
    """The whole name of the column in whose bins the step ranks; None where it has no strata."""
    if step.keys.strata is None:
        return None
    name = step.keys.strata.by
    return f"{step.id}.{name}" if name in step.selector.columns else name


def quotas_of(step: Step, group: Group | None) -> Quotas | None:
    """The step's quota beside the groups that there are."""
    keep = step.keys.keep
    if keep is None or keep.quota is None or group is None:
        return None
    return Quotas.of(keep.quota, group)


def _null_codes(step: Step, table: Table, values: Floats) -> Ints:
    """Why each null is null: the first of its likelihoods that does not exist."""
    codes = np.zeros(len(values), dtype=np.int64)
    for model, likelihood in step.needs:
        status = table.likelihood(model, likelihood).status
        codes = np.where(codes == 0, status, codes)
    return np.where(np.isnan(values) & (codes == 0), UNDEFINED, codes)


def _keep_all(values: Floats) -> Decisions:
    nothing = np.full(len(values), np.nan)
    return Decisions(
        np.ones(len(values), dtype=np.bool_),
        np.zeros(len(values), dtype=np.int16),
        ("kept",),
        values,
        nothing,
    )
