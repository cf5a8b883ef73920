"""What the processes of one round computed, read from their journals: what was lost, what twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from benchmarks.victim import Ended

LOSS = 5.0
"""Seconds of finished work that a kill may cost. Not read from the code that is judged."""


class Batch(NamedTuple):
    """One call of a backend: which model, which sequences, when it ended and what it took."""

    model: str
    sequences: tuple[str, ...]
    ended: float
    seconds: float

    @property
    def work(self) -> tuple[str, tuple[str, ...]]:
        """What was computed: equal for equal batches."""
        return self.model, self.sequences


class Event(NamedTuple):
    """What a process was about to do to a file, or `batch`."""

    what: str
    path: str
    time: float


@dataclass(frozen=True, slots=True)
class Journal:
    """A process: how it ended, its batches, and the file events it came to."""

    process: Ended
    batches: list[Batch]
    events: list[Event]
    last: float
    """When the last line was written."""

    def phase(self) -> str:
        """What it was doing when it was killed; what it did after a signal does not count."""
        killed = self.process.killed or self.last
        before = [event for event in self.events if event.time <= killed]
        if not before:
            return "starting"
        event, path, _ = before[-1]
        if path.startswith("store"):
            return "flushing" if path.endswith((".partial", ".parquet")) else "scoring"
        if event == "os.rename":
            return "publishing"
        if event in {"shutil.rmtree", "os.rmdir"}:
            return "leaving"
        return "reading" if event == "os.mkdir" or "quarantine" in path else "writing"


def read_journal(process: Ended) -> Journal:
    """The journal of a process that has ended."""
    batches: list[Batch] = []
    events: list[Event] = []
    last = process.began
    for line in process.journal.read_bytes().splitlines():
        entry = orjson.loads(line)
        last = entry["time"]
        if "model" in entry:
            sequences = tuple(entry["sequences"])
            batches.append(Batch(entry["model"], sequences, last, entry["seconds"]))
            # Between two flushes a batch is what the process is about.
            events.append(Event("batch", "store", last))
        elif "event" in entry:
            events.append(Event(entry["event"], entry["path"], last))
    return Journal(process, batches, events, last)


@dataclass(slots=True)
class Repeats:
    """What was computed again in a round."""

    computed: int = 0
    again: int = 0
    worst: float = 0.0
    """Seconds from the start of the oldest lost batch to the kill that lost it."""


def judge(journals: Sequence[Journal], reference: Sequence[Batch], problems: list[str]) -> Repeats:
    """Count what was computed twice; what should not have been goes to `problems`.

    Scores are flushed at the first batch that ends LOSS seconds after the last flush. So when the
    last batch but one had ended, what was LOSS seconds older was on disk. This holds on however
    slow a machine: it compares the process's own times, and leaves one batch and a flush of slack.
    """
    found = Repeats()
    expected = [batch.work for batch in reference]
    everything = {batch.work for journal in journals for batch in journal.batches}
    if everything != set(expected):
        lost, foreign = len(set(expected) - everything), len(everything - set(expected))
        problems.append(f"{foreign} batches that no undisturbed run has, {lost} never computed")
    for number, journal in enumerate(journals):
        found.computed += sum(len(batch.sequences) for batch in journal.batches)
        later = {batch.work for other in journals[number + 1 :] for batch in other.batches}
        lost_batches = [batch for batch in journal.batches if batch.work in later]
        if not lost_batches:
            continue
        found.again += sum(len(batch.sequences) for batch in lost_batches)
        oldest = lost_batches[0]
        killed = journal.process.killed or journal.last
        found.worst = max(found.worst, killed - (oldest.ended - oldest.seconds))
        if journal.batches[-1].model != oldest.model:
            problems.append("a model was done, and something of it is computed again")
        elif journal.process.soft and len(lost_batches) > 1 and journal.phase() != "flushing":
            # A signal in the last flush of all ends that flush; else all is written on leaving.
            problems.append(f"{len(lost_batches)} batches lost to a signal that can be caught")
        elif len(lost_batches) > 1:
            age = journal.batches[-2].ended - oldest.ended
            if age >= LOSS:
                problems.append(f"computed again, though done {age:.1f} s before")
    return found
