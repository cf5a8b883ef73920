"""Runs that are killed and started again end as a run that was left alone, to the byte.

`python -m benchmarks.crash` does the same at random moments, by the hundred. Here the moments are
fixed: shares of the time that an undisturbed run took, or files that are about to be touched.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

ROUNDS = {
    "before the first flush and during it": [0.04, 0.3, "os.rename store/*.parquet", 0.7],
    "after a flush": [0.8, 0.1, 0.2, 0.25, "open out/*/rejected.jsonl", "open out/*/manifest.json"],
    "while files are made and moved": [
        "open out/*/quarantine.jsonl",
        "os.rename store/*/facts.json",
        "os.rename store/*.parquet",
        "os.rename out/kept.jsonl",
        "os.rename out/manifest.json",
        "shutil.rmtree out/*",
    ],
    "over a finished run": [
        "os.rename out/kept.jsonl",
        "os.rename out/scores.parquet",
        "os.rename out/manifest.json",
        (signal.SIGINT, "os.rename out/rejected.jsonl"),
    ],
    "by signals that are caught": [
        (signal.SIGTERM, 0.35),
        (signal.SIGINT, 0.2),
        0.15,
        (signal.SIGINT, "os.rename store/*.parquet"),
        (signal.SIGINT, "open out/*/kept.jsonl"),
        (signal.SIGINT, "os.rename out/rejected.jsonl"),
    ],
}
"""20 SIGKILLs at a moment of the run or before a file event, and signals that are caught."""


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    """The machinery, found behind everything that is installed, and an undisturbed run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(ROOT)])
        from benchmarks import journals, outputs, rounds_of_kills, victim

        base = tmp_path_factory.mktemp("crash")
        reference = rounds_of_kills.make_reference(base, "ngram", records=400)
        yield SimpleNamespace(
            reference=reference,
            play=rounds_of_kills.play,
            Moment=victim.Moment,
            journals=journals,
            outputs=outputs,
        )


def test_the_reference_is_worth_comparing_with(crash):
    """A run in which nothing is decided or flushed would prove little."""
    assert {"kept.jsonl", "rejected.jsonl", "quarantine.jsonl", "scores.parquet"} <= set(
        crash.reference.outputs
    )
    assert all(crash.reference.outputs.values())
    assert crash.reference.seconds > crash.reference.first + crash.journals.LOSS
    works = [batch.work for batch in crash.reference.batches]
    assert len(works) == len(set(works)), "a batch computed twice without a kill"


@pytest.mark.parametrize("name", ROUNDS)
def test_killed_and_started_again(crash, name):
    def moment(when, share):
        number, at = when if isinstance(when, tuple) else (signal.SIGKILL, when)
        if isinstance(at, str):
            return crash.Moment(event=at, signal=number)
        return crash.Moment(at * share * crash.reference.seconds, signal=number)

    replace = name == "over a finished run"
    # Where the undisturbed run had a slow minute, a moment comes too late and kills nothing: then
    # the round is played again, with earlier ones. What it leaves has to be right every time.
    for number, share in enumerate((1.0, 0.6, 0.4)):
        moments = [moment(when, share) for when in ROUNDS[name]]
        folder = f"{name.replace(' ', '-')}-{number}"
        done = crash.play(crash.reference, folder, moments, replace=replace)
        assert not done.problems, "\n".join(done.problems)
        if done.kills > len(moments) / 2:
            return
    pytest.fail(f"only {done.kills} of {len(moments)} moments came before the end")


# --- what the judges see


def process(crash, *, soft=False):
    return SimpleNamespace(killed=100.0, soft=soft)


def journal(crash, *ends, soft=False, model="m"):
    """A process whose batches ended then; each computed something else."""
    batches = [crash.journals.Batch(model, (str(end),), end, 0.5) for end in ends]
    return crash.journals.Journal(process(crash, soft=soft), batches, [], 100.0)


@pytest.mark.parametrize(
    ("killed", "again", "problem"),
    [
        ([90, 95, 99.9], [99.9], None),
        ([93, 95, 97.9, 99], [93, 95, 97.9, 99], None),  # the next batch would have flushed
        ([92, 95, 97.9, 99], [92, 95, 97.9, 99], "computed again, though done 5.9 s before"),
    ],
)
def test_work_older_than_five_seconds_must_not_come_again(crash, killed, again, problem):
    first, second = journal(crash, *killed), journal(crash, *again)
    problems = []
    found = crash.journals.judge([first, second], first.batches, problems)
    assert problems == ([problem] if problem else [])
    assert (found.computed, found.again) == (len(killed) + len(again), len(again))


def test_a_signal_that_is_caught_loses_a_batch_at_most(crash):
    for again, bad in (([99], False), ([98, 99], True)):
        first, second = journal(crash, 98, 99, soft=True), journal(crash, *again)
        problems = []
        crash.journals.judge([first, second], first.batches, problems)
        assert bool(problems) == bad


def test_nothing_of_a_model_that_was_done_comes_again(crash):
    first, other = journal(crash, 98), journal(crash, 99, model="other")
    whole = crash.journals.Journal(process(crash), [*first.batches, *other.batches], [], 100.0)
    problems = []
    crash.journals.judge([whole, first], whole.batches, problems)
    assert problems == ["a model was done, and something of it is computed again"]


def test_other_batches_than_those_of_an_undisturbed_run_are_seen(crash):
    problems = []
    crash.journals.judge([journal(crash, 1, 2)], journal(crash, 2, 3).batches, problems)
    assert problems == ["1 batches that no undisturbed run has, 1 never computed"]


def test_half_a_file_and_a_wrong_manifest_are_seen(crash, tmp_path):
    (tmp_path / "kept.jsonl").write_bytes(b"ab")
    problems = []
    crash.outputs.check_killed(tmp_path, [{"kept.jsonl": b"ab"}], problems)
    assert problems == []
    crash.outputs.check_killed(tmp_path, [{"kept.jsonl": b"abc"}], problems)
    assert problems == ["kept.jsonl is there, and is not whole"]
    (tmp_path / ".partial-1").mkdir()
    problems.clear()
    crash.outputs.check_finished(tmp_path, {"kept.jsonl": b"ab"}, problems)
    assert problems == ["hidden folders of killed runs are left"]
