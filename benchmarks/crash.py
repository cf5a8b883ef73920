"""Runs that are killed at any moment, and started again, end as one that was left alone.

    python -m benchmarks.crash --kills 300

A command is killed at a random moment, started again, killed again, and at last left to finish;
then its outputs are compared with those of an undisturbed run, byte for byte. A journal of every
batch tells what was computed twice. Half of the kills fall anywhere in the life of a run, others
into the seconds around a flush, and others right before a file is made, renamed or removed, the
moments that chance would seldom hit. One in six is a SIGTERM or a SIGINT.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.journals import LOSS
from benchmarks.rounds_of_kills import Reference, Round, make_reference, play
from benchmarks.victim import Moment

RECORDS = {"ngram": 400, "weak": 5000}


def moment(draw: random.Random, reference: Reference) -> Moment:
    """When to kill next."""
    number = signal.SIGKILL
    if draw.random() < 1 / 6:
        number = draw.choice((signal.SIGTERM, signal.SIGINT))
    kind = draw.random()
    if kind < 0.3:
        return Moment(event=draw.choice(reference.events), signal=number)
    if kind < 0.5:
        return Moment(reference.first + LOSS + draw.uniform(-0.3, 0.3), signal=number)
    return Moment(draw.uniform(0.0, reference.seconds), signal=number)


def rounds(reference: Reference, seed: int, jobs: int) -> Iterator[Round]:
    """One after the other, without end; each draws from a seed of its own."""

    def one(number: int) -> Round:
        draw = random.Random(f"{seed} {number}")
        moments = [moment(draw, reference) for _ in range(draw.choice((1, 1, 2, 3, 5)))]
        return play(reference, f"round-{number}", moments, replace=number % 4 == 3)

    first = 0
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            yield from pool.map(one, range(first, first + jobs))
            first += jobs


def main() -> None:
    """A reference, rounds until there were enough kills, and what they came to."""
    parser = argparse.ArgumentParser(description="Kill runs and compare what they end with.")
    parser.add_argument("--kills", type=int, default=300, help="how many (300)")
    parser.add_argument("--backend", choices=sorted(RECORDS), default="ngram", help="(ngram)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--jobs", type=int, default=1, help="rounds at a time (1)")
    chosen = parser.parse_args()
    began, done = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="qaqfilter-crash-") as name:
        reference = make_reference(Path(name), chosen.backend, RECORDS[chosen.backend])
        print(f"an undisturbed run: {reference.seconds:.1f} s, {len(reference.batches)} batches")
        for each in rounds(reference, chosen.seed, chosen.jobs):
            done.append(each)
            if sum(one.kills for one in done) >= chosen.kills:
                break
    phases = sum((one.phases for one in done), Counter[str]())
    print(f"\n{phases.total()} kills in {len(done)} rounds, {time.monotonic() - began:.0f} s")
    print("while " + ", ".join(f"{phase} {count}" for phase, count in phases.most_common()))
    computed = sum(one.repeats.computed for one in done)
    again = sum(one.repeats.again for one in done)
    print(f"computed twice: {again} of {computed} sequences ({again / computed:.1%})")
    worst = max(one.repeats.worst for one in done)
    print(f"worst loss: {worst:.2f} s before the kill; allowed {LOSS:g} s, a batch and a flush")
    problems = Counter(problem for one in done for problem in set(one.problems))
    for problem, count in problems.most_common():
        print(f"in {count} rounds: {problem}")
    bad = sum(bool(one.problems) for one in done)
    print(f"{len(done) - bad} of {len(done)} rounds end as the undisturbed run, without a problem")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
