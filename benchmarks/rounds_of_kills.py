"""One round: a command is killed a few times, started again each time, and at last left alone."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.journals import Batch, Repeats, judge, read_journal
from benchmarks.outputs import Outputs, check_finished, check_killed, outputs
from benchmarks.victim import Ended, Moment, start_and_kill, write_data, write_recipe

INTERRUPTED = 130
VARIES = r"\b[0-9a-f]{8,}\b|\d+"
"""In the names of files: fingerprints, random names, times, processes."""
EARLIER = "--limit=40"
"""What makes another set of outputs, for rounds that replace one."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An undisturbed run: what it left, what it computed, and how long it took."""

    folder: Path
    outputs: Outputs
    earlier: Outputs
    batches: list[Batch]
    seconds: float
    first: float
    """Seconds until the first batch was done."""
    events: list[str]
    """Patterns of the file events, for moments to be chosen from."""


@dataclass(slots=True)
class Round:
    """What a round came to. `problems` is empty where all is well."""

    problems: list[str] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def kills(self) -> int:
        """Processes that a signal ended."""
        return self.phases.total()


def make_reference(base: Path, backend: str, records: int) -> Reference:
    """Run without a kill below `base`; the rounds' folders stand beside it."""
    folder = base / "reference"
    folder.mkdir(parents=True)
    write_data(folder, records)
    write_recipe(folder, backend)
    # A small run first: the same batch sizes for all, and a set of outputs to be replaced.
    small = start_and_kill(folder, None, EARLIER, "--set", "run.store=first")
    if small.code != 0:
        raise SystemExit(small.said)
    shutil.copytree(folder / "out", base / "earlier")
    earlier = outputs(base / "earlier")
    shutil.rmtree(folder / "out")
    done = read_journal(start_and_kill(folder, None))
    if done.process.code != 0:
        raise SystemExit(done.process.said)
    files = [f"{e.what} {re.sub(VARIES, '*', e.path)}" for e in done.events if e.what != "batch"]
    seconds, first = (at - done.process.began for at in (done.last, done.batches[0].ended))
    whole = outputs(folder / "out")
    return Reference(
        folder, whole, earlier, done.batches, seconds, first, list(dict.fromkeys(files))
    )


def play(
    reference: Reference, name: str, moments: Sequence[Moment], *, replace: bool = False
) -> Round:
    """Kill at each moment, start again each time; then let it finish, and compare.

    With `replace`, the folder holds a finished run of other records from the beginning.
    """
    folder = reference.folder.with_name(name)
    folder.mkdir()
    for file in ("data.jsonl", "recipe.yaml"):
        shutil.copy(reference.folder / file, folder)
    out, options, sets = folder / "out", [], [reference.outputs]
    if replace:
        shutil.copytree(reference.folder.with_name("earlier"), out)
        options, sets = ["--replace"], [reference.outputs, reference.earlier]
    done, journals = Round(), []
    for moment in [*moments, None]:
        before = outputs(out)
        ended = start_and_kill(folder, moment, *options)
        journal = read_journal(ended)
        journals.append(journal)
        if ended.killed is not None:
            done.phases[journal.phase()] += 1
            check_killed(out, sets, done.problems)
            if ended.soft:
                _check_interrupted(ended, before == outputs(out), done.problems)
        elif ended.code != 0:
            done.problems.append(f"does not go on: {last_line(ended.said)}")
        if ended.killed is None:
            break
    done.repeats = judge(journals, reference.batches, done.problems)
    check_finished(out, reference.outputs, done.problems)
    if not done.problems:
        shutil.rmtree(folder)
    return done


def _check_interrupted(ended: Ended, untouched: bool, problems: list[str]) -> None:
    """After a signal that can be caught: the exit code, and what is said is true."""
    if ended.code != INTERRUPTED:
        problems.append(f"exit code {ended.code} after a signal: {last_line(ended.said)}")
    elif "interrupted" not in ended.said:
        problems.append(f"nothing is said of the interruption: {last_line(ended.said)}")
    elif "no output was written" in ended.said and not untouched:
        problems.append("it says that no output was written, and outputs were changed")


def last_line(said: str) -> str:
    """The last thing that was said."""
    return (said.strip() or "nothing was said").splitlines()[-1]
