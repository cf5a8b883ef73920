"""Who scores what: what was begun and never ended killed its worker, and is scored in pieces.

A worker that dies is started again by Ray, and gets its window again, for ever. So each attempt is
noted here before it begins. What was begun before by someone who never ended it is divided, until
what kills is a single record, which is given up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

PIECES = 16
"""Into so many pieces a suspected one is divided."""
DEATHS = 3
"""Of the workers that scored a single record and nothing else, until it is given up; and of those
that loaded a model in a row, until the run is."""


class Piece(NamedTuple):
    """Records of a window, from `start` to before `stop`; `deaths` of workers that began it."""

    start: int
    stop: int
    deaths: int = 0

    @property
    def kills(self) -> bool:
        """Whether it is a record that nobody shall try again."""
        return self.stop - self.start == 1 and self.deaths >= DEATHS

    def divided(self) -> list[Piece]:
        """What is tried instead of it after a death; a record has to kill alone, several times."""
        size = self.stop - self.start
        if size == 1:
            return [Piece(self.start, self.stop, self.deaths + 1)]
        step = -(-size // PIECES)
        return [
            Piece(start, min(start + step, self.stop))
            for start in range(self.start, self.stop, step)
        ]


@dataclass(slots=True)
class _Attempt:
    """Who is at work on a window, and on which of its pieces."""

    pieces: list[Piece]
    at: int | None = None


@dataclass(slots=True)
class Ledger:
    """Notes of all workers, in one place. `windows` are to be begun yet, by stage; `deaths` all."""

    windows: list[int]
    deaths: int = 0
    _attempts: dict[tuple[int, int], _Attempt] = field(default_factory=dict)
    _loading: set[tuple[int, str]] = field(default_factory=set)
    _died: dict[int, int] = field(default_factory=dict)

    def died(self) -> int:
        """Workers that died at work."""
        return self.deaths

    def loads(self, stage: int, worker: str) -> int:
        """A worker begins to load a model; how many died of that in a row."""
        if (stage, worker) in self._loading:
            self._died[stage] = self._died.get(stage, 0) + 1
            self.deaths += 1
        self._loading.add((stage, worker))
        return self._died.get(stage, 0)

    def loaded(self, stage: int, worker: str) -> None:
        """It has loaded it, or failed and lived."""
        self._loading.discard((stage, worker))
        self._died.pop(stage, None)

    def begins(self, stage: int, window: int, records: int) -> list[Piece]:
        """The pieces in which a window is to be scored: one, as long as nobody died of it."""
        attempt = self._attempts.get((stage, window))
        if attempt is None:
            self.windows[stage] -= 1
            attempt = self._attempts[stage, window] = _Attempt([Piece(0, records)])
        elif attempt.at is not None:
            self.deaths += 1
            piece = attempt.pieces[attempt.at]
            attempt.pieces[attempt.at : attempt.at + 1] = piece.divided()
            attempt.at = None
        return list(attempt.pieces)

    def tries(self, stage: int, window: int, piece: int) -> None:
        """A piece is about to be scored."""
        self._attempts[stage, window].at = piece

    def ends(self, stage: int, window: int) -> int:
        """A window is scored; how many windows of the stage nobody has begun."""
        # Kept: where a node is lost with what it scored, Ray has the window scored again.
        self._attempts[stage, window].at = None
        return self.windows[stage]
