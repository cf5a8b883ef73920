"""How fast a stretch of work goes: lately, and since it began."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

RECENT_SECONDS = 10.0
MINUTE = 60.0
_GRAIN = 0.25
_INTERVALS = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """Records and tokens a second."""

    records: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """All that was done up to a time."""

    time: float
    records: float = 0.0
    tokens: float = 0.0


class Throughput:
    """Counts work and tells its speed. `clock` gives seconds. Threads may ask while one counts.

    What a report adds was done since the report before, so it is spread over that time. Silence
    counts as a standstill only when it lasts longer than is usual between two reports.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.began = clock()
        self._stopped: float | None = None
        self._samples = deque([_Sample(self.began)])
        self._lock = threading.Lock()

    def add(self, records: int, tokens: int) -> None:
        """So much more is done."""
        if not records and not tokens:
            return
        now = self._now()
        with self._lock:
            samples = self._samples
            last = samples[-1]
            new = _Sample(max(now, last.time), last.records + records, last.tokens + tokens)
            # Reports that come thick and fast become one, so that memory is bounded.
            if len(samples) > 1 and last.time - samples[-2].time < _GRAIN:
                samples.pop()
            samples.append(new)
            # Enough intervals are kept to know what is usual, however rare the reports.
            oldest = new.time - 2 * MINUTE
            while len(samples) > _INTERVALS + 1 and samples[1].time <= oldest:
                samples.popleft()

    def stop(self) -> None:
        """The work is over: no number changes any more."""
        self._stopped = self._now()

    @property
    def over(self) -> bool:
        """Whether the work is over."""
        return self._stopped is not None

    @property
    def records(self) -> int:
        """Records done."""
        return int(self._samples[-1].records)

    @property
    def tokens(self) -> int:
        """Tokens done."""
        return int(self._samples[-1].tokens)

    @property
    def seconds(self) -> float:
        """Since the work began; more than nothing."""
        return max(self._now() - self.began, 1e-9)

    def mean(self) -> Rate:
        """The speed since the work began."""
        last, seconds = self._samples[-1], self.seconds
        return Rate(last.records / seconds, last.tokens / seconds)

    def recent(self, seconds: float = RECENT_SECONDS) -> Rate:
        """The speed over the last so many seconds; early on, the mean."""
        samples, end = self._view()
        if len(samples) < 2:
            return self.mean()
        return _rate(samples, max(self.began, end - seconds), end)

    def history(self, parts: int, seconds: float = MINUTE) -> list[Rate]:
        """The speeds of the last so many seconds in equal parts, the latest last.

        There are fewer than `parts` as long as the work has not gone on for so long.
        """
        samples, end = self._view()
        if len(samples) < 2:
            return []
        step = seconds / parts
        ends = [end - step * n for n in range(parts - 1, -1, -1)]
        return [_rate(samples, max(self.began, e - step), e) for e in ends if e > self.began]

    def left(self, total: int | None) -> float | None:
        """Seconds that are left; None where nobody can tell, as when nothing moved for a minute.

        From the last minute's speed, which soon forgets a beginning out of the score store and is
        steadier than that of ten seconds. Records are done in bursts, when the last of their
        sequences is, so tokens tell the speed, at the tokens that a record took on average.
        """
        last, lately, mean = self._samples[-1], self.recent(MINUTE), self.mean()
        now, usual = (lately.tokens, mean.tokens) if last.tokens else (lately.records, mean.records)
        if total is None or not last.records or now <= 0:
            return None
        return max(0.0, total - last.records) / mean.records * (usual / now)

    def _now(self) -> float:
        return self._clock() if self._stopped is None else self._stopped

    def _view(self) -> tuple[list[_Sample], float]:
        """The samples, and until when the work is known."""
        with self._lock:
            samples = list(self._samples)
        # The median: one long pause, of a machine that slept, does not make all others usual.
        gaps = [b.time - a.time for a, b in pairwise(samples[-_INTERVALS - 1 :])]
        usual = median(gaps) if gaps else 0.0
        return samples, max(samples[-1].time, self._now() - usual)


def _rate(samples: list[_Sample], start: float, end: float) -> Rate:
    seconds = max(end - start, 1e-9)
    before, after = _at(samples, start), _at(samples, end)
    return Rate(
        (after.records - before.records) / seconds, (after.tokens - before.tokens) / seconds
    )


def _at(samples: list[_Sample], time: float) -> _Sample:
    """What was done by then, on a straight line between two samples."""
    if time <= samples[0].time:
        return samples[0]
    for a, b in pairwise(samples):
        if time < b.time:
            share = (time - a.time) / (b.time - a.time)
            return _Sample(
                time,
                a.records + share * (b.records - a.records),
                a.tokens + share * (b.tokens - a.tokens),
            )
    return samples[-1]


def brief(rate: float) -> str:
    """A speed in few digits."""
    return f"{rate:.{0 if rate >= 10 or not rate else 1 if rate >= 1 else 2}f}"


def words(throughput: Throughput) -> str:
    """The speed now and the mean, in words; when the work is over the mean alone."""
    mean, now = throughput.mean(), throughput.recent()
    if throughput.over:
        return (
            f"{brief(mean.tokens)} tokens/s" if mean.tokens else f"{brief(mean.records)} records/s"
        )
    if throughput.tokens:
        ours = f"{brief(now.tokens)} tokens/s now (mean {brief(mean.tokens)})"
        return f"{ours}, {brief(now.records)} records/s"
    return f"{brief(now.records)} records/s now (mean {brief(mean.records)})"
