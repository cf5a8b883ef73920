"""What looks wrong in a run, said where a person reads it first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from qaqfilter.finished import Finished, Standing
from qaqfilter.reports import StepReport
from qaqfilter.types import Bools
from qaqfilter_report.wording import count, number, percent

NULLS = 0.05
SAME = 0.2
"""Share of the records of a step from which on it is worth a word."""
FEW = 30
"""Records of a stratum below which its ranks are coarse."""
ABOVE_ONE = 0.9
RATIOS = {"ifd", "s_ifd", "rifd"}
"""Selectors whose score is above 1 where the other side does not help."""
WORTH = 50
"""Records of a source below which its share is left to chance."""
SURE = 4.0
"""Standard errors by which a source must differ."""
TWICE = 0.01


class Finding(NamedTuple):
    """`where` is the id of the element of the page that shows more; empty for none."""

    text: str
    where: str = ""


def of_run(run: Finished) -> Iterator[Finding]:
    """What is seen without looking at a step's scores."""
    report = run.report
    if report.quarantined:
        yield Finding(
            f"{count(report.quarantined)} of {count(report.read)} records are bad, and were set "
            "aside: quarantine.jsonl says what is wrong with each."
        )
    if report.duplicate_ids:
        yield Finding(
            f"{count(report.duplicate_ids)} ids stand more than once; later ones are called id#2, "
            "id#3 and so on."
        )
    twice = _same_numbers(run)
    if twice > TWICE * run.records:
        yield Finding(
            f"{count(twice)} records ({percent(twice, run.records)}) have to the last digit the "
            "likelihoods of an earlier one: they are duplicates, most likely. The step "
            "`exact_duplicates` drops them."
        )
    for step in report.steps:
        yield from _of_account(step)
    yield from _sources(run)
    yield from _cut(run)


def of_step(run: Finished, index: int, standing: Standing, passed: Bools) -> Iterator[Finding]:
    """What a step's scores show."""
    step, here = run.steps[index], f"step-{index}"
    total = len(standing.rows)
    if not total:
        return
    nulls = int(np.isnan(standing.values).sum())
    if nulls > NULLS * total and not step.own_rule:
        yield Finding(
            f"Step {step.id}: {count(nulls)} of {count(total)} records "
            f"({percent(nulls, total)}) have no score{_reasons(run.report.steps[index])}.",
            here,
        )
    found = standing.values[np.isfinite(standing.values)]
    if len(found) >= FEW:
        words, counts = np.unique(found, return_counts=True)
        most = int(counts.argmax())
        if len(words) > 2 and counts[most] > SAME * len(found):
            yield Finding(
                f"Step {step.id}: {count(counts[most])} records "
                f"({percent(counts[most], len(found))}) have the same score, "
                f"{number(words[most])}: it is saturated, and ranks inside it are chance.",
                here,
            )
    if step.use in RATIOS and len(found):
        above = int((found > 1).sum())
        if above > ABOVE_ONE * len(found):
            yield Finding(
                f"Step {step.id}: {percent(above, len(found))} of the scores are above 1: given "
                "the other side, nearly every text became less likely. A prompt that the model "
                "does not know does that, a chat template on a base model for one: try "
                "`prompt: {use: plain}`.",
                here,
            )
    sizes = np.bincount(standing.stratum[standing.stratum >= 0])
    few = sizes[(sizes > 0) & (sizes < FEW)]
    if len(few):
        yield Finding(
            f"Step {step.id}: {count(len(few))} of its {count((sizes > 0).sum())} strata have "
            f"fewer than {FEW} records (the smallest {count(few.min())}): ranks in them are "
            "coarse. Fewer bins have more records each.",
            here,
        )


def _of_account(step: StepReport) -> Iterator[Finding]:
    if step.read and step.kept == 0:
        yield Finding(f"Step {step.id} keeps none of its {count(step.read)} records.")


def _reasons(step: StepReport) -> str:
    found = {r: n for r, n in step.rejected.items() if r in _NULL}
    return f" ({', '.join(f'{r}: {count(n)}' for r, n in found.items())})" * bool(found)


_NULL = {"empty", "no_context", "too_long", "not_finite", "not_scored", "no_prompt", "undefined"}


def _same_numbers(run: Finished) -> int:
    """Records whose likelihoods, by the model that was asked most, are those of an earlier one."""
    views: dict[str, list[str]] = {}
    for name in run.columns.likelihoods:
        views.setdefault(name.rpartition(".")[0], []).append(name)
    most = 0
    for names in views.values():
        columns = [run.columns.pooled(name) for name in names]
        scored = np.all([column.status == 0 for column in columns], axis=0)
        if len(columns) >= 2:
            # Two numbers as one: sorting those is far faster than sorting rows.
            numbers = columns[0].logprob[scored] + 1j * columns[1].logprob[scored]
            most = max(most, len(numbers) - len(np.unique(numbers)))
    return most


def _sources(run: Finished) -> Iterator[Finding]:
    """Parts of the input that lose far more than the rest."""
    if len(run.parts) < 2 or not run.records:
        return
    sizes = np.array([part.records for part in run.parts])
    kept = np.bincount(run.part_of()[run.kept], minlength=len(run.parts))
    yield from _far_below(
        {part.name: (int(n), int(k)) for part, n, k in zip(run.parts, sizes, kept, strict=True)},
        "Of",
    )
    for step in run.report.steps:
        groups = {group.name: (group.read, group.kept) for group in step.groups}
        yield from _far_below(groups, f"Step {step.id}: of group")


def _far_below(shares: Mapping[str, tuple[int, int]], what: str) -> Iterator[Finding]:
    read = sum(n for n, _ in shares.values())
    kept = sum(k for _, k in shares.values())
    for name, (n, k) in shares.items():
        others, theirs = read - n, kept - k
        if n < WORTH or others < WORTH:
            continue
        share = theirs / others
        error = max((share * (1 - share) / n) ** 0.5, 1e-12)
        if k / n < share / 2 and (share - k / n) / error > SURE:
            yield Finding(
                f"{what} {name}, {percent(k, n)} of {count(n)} records are kept; of all others, "
                f"{percent(theirs, others)}.",
                "sources",
            )


def _cut(run: Finished) -> Iterator[Finding]:
    for name, values in run.columns.numbers.items():
        if name.endswith(".cut") and (values > 0).any():
            cut = int((values > 0).sum())
            yield Finding(
                f"{count(cut)} answers were longer than {name.removesuffix('.cut')} can read, and "
                "were cut at the end."
            )
