"""Where a run spends its time, by looking at the stack every so often.

A timer counts the process's own CPU time and looks at what the main thread is doing. So the code
under measurement is not wrapped, and costs nothing more between two looks; and a stage is known
by the file it is written in, so that a rewritten function stays where it was.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from pathlib import PurePath
from types import FrameType

EVERY = 0.001
"""Seconds of CPU time between two looks."""

STAGES: dict[str, str] = {
    "null.encode": "encode",
    "null.encode_batch": "encode",
    "null.logprobs": "backend",
    "planning._ids": "encode: look-up",
    "planning.plan": "plan",
    "planning.check_results": "results",
    "planning.answers": "results",
    "planning": "encode: join",
    "batching": "plan",
    "qaqfilter_prompts": "prompt",
    "qaqfilter_jsonl.sink": "sink",
    "output_files": "sink",
    "qaqfilter_jsonl": "read and parse",
    "layouts": "read and parse",
    "stream": "digest and windows",
    "scores_file": "scores.parquet",
    "fates": "fates",
    "writing": "fates",
    "measuring": "measure",
    "metering": "results",
    "scoring": "results",
    "asking": "results",
    "columns": "results",
    "keep": "decide",
    "ranking": "decide",
    "deciding": "decide",
    "chain": "decide",
}
"""``module.function``, ``package.module``, ``module`` or ``package`` -> stage, tried in this order.
The innermost frame that is named here counts."""


class Phases:
    """An observer that notes CPU seconds by phase and, where asked to, looks at the stack."""

    def __init__(self, *, look: bool = False) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.looks: Counter[tuple[str, str]] = Counter()
        self._look = look
        self._phase = "other"
        self._since = time.process_time()

    def __enter__(self) -> Phases:
        if self._look:
            signal.signal(signal.SIGPROF, self._seen)
            signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        self._since = time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self._enter("other")
        if self._look:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def started(self, label: str, records: int | None) -> None:
        """A phase of the run begins; only its first word is kept."""
        self._enter(label.split(maxsplit=1)[0])

    def finished(self) -> None:
        """What lies between two phases is deciding, starting or publishing."""
        self._enter("other")

    def advanced(self, records: int, tokens: int) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""

    def _enter(self, phase: str) -> None:
        now = time.process_time()
        self.seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now

    def _seen(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            path, name = PurePath(frame.f_code.co_filename), frame.f_code.co_name
            package = path.parent.name
            # A comprehension is part of the function that it stands in, one frame further out.
            if not name.startswith("<"):
                for key in (f"{path.stem}.{name}", f"{package}.{path.stem}", path.stem, package):
                    if key in STAGES:
                        self.looks[self._phase, STAGES[key]] += 1
                        return
            frame = frame.f_back
        self.looks[self._phase, "start and end"] += 1
