"""How large a report is, and how long it takes, for runs of a thousand to ten million records.

    python -m benchmarks.report [--most 10000000]

The runs are made of numbers drawn at random, with the columns of a strong/weak recipe and long
texts, since a model would take weeks for ten million records. The peer is the decision itself:
`decide` over the same columns, which any run makes before it has a report.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from types import MappingProxyType

import numpy as np

from qaqfilter import Origin, Record
from qaqfilter.columns import Columns
from qaqfilter.fates import Fates
from qaqfilter.finished import Finished, FinishedStep, Part
from qaqfilter.keep import Keep, Strata, decide, stratum_groups
from qaqfilter.reports import RunReport, StepReport
from qaqfilter.types import Decisions, LikelihoodColumn
from qaqfilter_report.page import ReportPage

TEXT = "def f(value):\n    return value + 1  # <one> & only\n" * 200
STEPS = ("ifd", "rmi", "qaq")


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10_000_000)
    most: int = parser.parse_args().most
    size = 1000
    while size <= most:
        began = time.monotonic()
        run = made(size)
        decided = time.monotonic() - began
        began = time.monotonic()
        html = report_of(run)
        took = time.monotonic() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{size:>10} records: {len(html) / 1e6:.2f} MB, {took / decided:.1f} times as long as "
            f"deciding ({took:.1f} s); peak so far {peak} MB"
        )
        size *= 10


def report_of(run: Finished) -> bytes:
    """The page, over records that are as long as they may be."""
    page = ReportPage()
    return page.html(run, {row: record(row) for row in page.wanted(run)})


def record(row: int) -> Record:
    """A record with long texts."""
    return Record(f"record-{row}", TEXT, TEXT, b"", Origin("made.jsonl", row, row + 1))


def made(size: int) -> Finished:
    """A run of random numbers, decided by the rules of a strong/weak recipe."""
    rng = np.random.default_rng(0)
    columns = Columns(size)
    for view in ("strong", "weak"):
        for likelihood in ("query", "query_given_answer", "answer", "answer_given_query"):
            tokens = rng.integers(5, 400, size).astype(np.int32)
            nll = rng.gamma(4, 0.5, size)
            status = np.zeros(size, dtype=np.int8)
            columns.likelihoods[f"{view}.{likelihood}"] = LikelihoodColumn(
                -nll * tokens, tokens, status
            )
    columns.numbers |= {
        "ifd.ifd_ppl": rng.lognormal(-0.2, 0.4, size),
        "rmi.rmi": rng.normal(0.5, 0.6, size),
        "rmi.nll_query": rng.gamma(4, 1, size),
        "qaq.strong_rank": rng.random(size),
        "qaq.weak_rank": rng.random(size),
    }
    columns.numbers["qaq.diff"] = (
        columns.numbers["qaq.strong_rank"] - columns.numbers["qaq.weak_rank"]
    )
    steps = (
        _step("ifd", ("ifd_ppl",), Keep(rank=(0.1, 0.9))),
        _step("rmi", ("rmi", "nll_query"), Keep(rank=(0.2, 0.9)), Strata(by="nll_query", bins=10)),
        _step("qaq", ("diff", "strong_rank", "weak_rank"), Keep(fraction=0.25)),
    )
    fates, reports = Fates.all_kept(size, [*STEPS]), []
    alive = np.arange(size, dtype=np.int64)
    for step in steps:
        decisions = _decided(step, columns, alive)
        fates.put(step.id, alive, decisions)
        kept = int(decisions.kept.sum())
        reports.append(StepReport(step.id, step.use, len(alive), kept, {"rank": len(alive) - kept}))
        alive = alive[decisions.kept]
    report = RunReport(
        "made", Path("nowhere"), size, len(alive), size - len(alive), 0, 0, tuple(reports), (), 1.0,
        MappingProxyType({}),
    )  # fmt: skip
    parts = (Part("made.jsonl", size, 0),)
    return Finished("run", {"steps": []}, report, (), steps, parts, columns, fates)


def _step(
    id_: str, names: tuple[str, ...], keep: Keep, strata: Strata | None = None
) -> FinishedStep:
    return FinishedStep(
        id=id_,
        use=id_,
        summary="made of random numbers",
        columns=tuple(f"{id_}.{name}" for name in names),
        keep=keep,
        own_rule=False,
        strata=strata,
        strata_by=None if strata is None else f"{id_}.{strata.by}",
        group=None,
        group_column=None,
        likelihoods=("strong.query", "strong.query_given_answer"),
    )


def _decided(step: FinishedStep, columns: Columns, alive: np.ndarray) -> Decisions:
    assert step.keep is not None
    groups = None
    if step.strata is not None and step.strata_by is not None:
        groups = stratum_groups(columns.numbers[step.strata_by][alive], step.strata.bins)
    values = columns.numbers[step.column][alive]
    return decide(step.keep, values, ("undefined",), np.zeros(len(alive), np.int64), groups)


if __name__ == "__main__":
    main()
