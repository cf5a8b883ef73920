"""Two runs beside one another: what they keep and drop differently, counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from qaqfilter import Bools, Ints
from qaqfilter.finished import Finished
from qaqfilter.groups import Group, shown
from qaqfilter.input_parts import differences
from qaqfilter.manifest import as_written, changed_keys
from qaqfilter.reopening import Reopened
from qaqfilter_report.diff_models import ModelPair, models
from qaqfilter_report.diff_numbers import Length, Scores, lengths, scores
from qaqfilter_report.matching import Match, labels

MOST_SHARES = 50
MOST_IDS = 20
"""Ids that are listed of the records that are in one run alone."""


class Lost(NamedTuple):
    """Records that one run keeps, and how the other threw them out."""

    step: str
    reason: str
    records: int


class Flow(NamedTuple):
    """Matched records by the step that threw them out in either run; None: kept."""

    first: str | None
    second: str | None
    records: int


class Share(NamedTuple):
    """Some of the matched records, and how many of them each run keeps."""

    name: str
    records: int
    first: int
    second: int


class Shares(NamedTuple):
    """The matched records part by part of the first run's input, or by a field that steps group by.

    `of` is ``part`` or ``group``, and `by` the field. Of `size` shares those that differ by most
    records are listed, the most first.
    """

    of: str
    by: str
    size: int
    shares: tuple[Share, ...]


class Alone(NamedTuple):
    """Records that are in one run alone: how many, how many of them it keeps, ids of the first."""

    records: int
    kept: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs.

    Attributes
    ----------
    first, second: where they are.
    matched_by: ``row`` or ``id``; `matched` records are in both runs.
    unmatched_first, unmatched_second: those that are in one run alone, and are not compared.
    both, only_first, only_second, neither: matched records by who keeps them.
    by_chance, chance_sd: how many both would keep if each drew as many as it keeps, at random: mean
        and standard deviation of the hypergeometric distribution.
    lost_by_second: of those that the first alone keeps, where the second threw them out.
    flows: every matched record by where it ended in either run, the most first.
    changed: keys of the recipe that differ, ``key: first -> second``, but for the folder.
    notes: what else one should know, in sentences.
    """

    first: str
    second: str
    matched_by: str
    matched: int
    unmatched_first: Alone
    unmatched_second: Alone
    both: int
    only_first: int
    only_second: int
    neither: int
    by_chance: float
    chance_sd: float
    lost_by_second: tuple[Lost, ...]
    lost_by_first: tuple[Lost, ...]
    flows: tuple[Flow, ...]
    changed: tuple[str, ...]
    notes: tuple[str, ...]
    scores: tuple[Scores, ...]
    shares: tuple[Shares, ...]
    lengths: tuple[Length, ...]
    models: tuple[ModelPair, ...]

    @property
    def overlap(self) -> float | None:
        """Jaccard's index of what the two keep: both / either; None where neither keeps any."""
        either = self.both + self.only_first + self.only_second
        return self.both / either if either else None

    @property
    def above_chance(self) -> float | None:
        """How many standard deviations `both` is above `by_chance`; None where nothing can vary."""
        return (self.both - self.by_chance) / self.chance_sd if self.chance_sd else None

    @property
    def same(self) -> bool:
        """Whether both runs keep the same of what is in both."""
        return self.only_first == self.only_second == 0

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        plain = {name: _plain(value) for name, value in asdict(self).items()}
        for data, pair in zip(plain["models"], self.models, strict=True):
            data["same"] = pair.same
        return plain | {"overlap": self.overlap, "above_chance": self.above_chance}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return {name: _plain(item) for name, item in value._asdict().items()}
        return [_plain(item) for item in value]
    return value


def compare(first: Reopened, second: Reopened, match: Match) -> Comparison:
    """Count what differs, over the records that are in both."""
    kept = first.run.kept[match.first], second.run.kept[match.second]
    kinds = kept[0] & kept[1], kept[0] & ~kept[1], kept[1] & ~kept[0], ~kept[0] & ~kept[1]
    mean, deviation = chance(len(match.first), *(int(k.sum()) for k in kept))
    recipes = [as_written(run.manifest.recipe) for run in (first, second)]
    return Comparison(
        first=str(first.where),
        second=str(second.where),
        matched_by=match.by,
        matched=len(match.first),
        unmatched_first=_alone(first, match.only_first),
        unmatched_second=_alone(second, match.only_second),
        both=int(kinds[0].sum()),
        only_first=int(kinds[1].sum()),
        only_second=int(kinds[2].sum()),
        neither=int(kinds[3].sum()),
        by_chance=mean,
        chance_sd=deviation,
        lost_by_second=tuple(_lost(second.run, match.second[kinds[1]])),
        lost_by_first=tuple(_lost(first.run, match.first[kinds[2]])),
        flows=tuple(_flows(first.run, second.run, match)),
        changed=tuple(k for k in changed_keys(*recipes) if not k.startswith("output.path:")),
        notes=tuple(_notes(first, second, match)),
        scores=tuple(scores(first.run, second.run, match)),
        shares=tuple(_shares(first.run, second.run, match, kept)),
        lengths=tuple(lengths(first.run, second.run, match, kinds)),
        models=tuple(models(first.run, second.run)),
    )


def chance(records: int, first: int, second: int) -> tuple[float, float]:
    """How many records two draws of so many have in common: mean and standard deviation."""
    if not records:
        return 0.0, 0.0
    mean = first * second / records
    variance = mean * (records - first) * (records - second) / records / max(1, records - 1)
    return mean, math.sqrt(variance)


def _alone(run: Reopened, rows: Ints) -> Alone:
    listed = np.zeros(run.run.records, dtype=np.bool_)
    listed[rows[:MOST_IDS]] = True
    ids = tuple(label for _, label in labels(run, listed)) if len(rows) else ()
    return Alone(len(rows), int(run.run.kept[rows].sum()), ids)


def _lost(run: Finished, rows: Ints) -> Iterator[Lost]:
    """Where a run threw these records out, the most first."""
    fates = run.fates
    codes = fates.step[rows].astype(np.int64) * len(fates.reasons) + fates.reason[rows]
    found, counts = np.unique(codes, return_counts=True)
    for at in np.argsort(-counts, kind="stable").tolist():
        step, reason = divmod(int(found[at]), len(fates.reasons))
        yield Lost(fates.steps[step], fates.reasons[reason], int(counts[at]))


def _flows(first: Finished, second: Finished, match: Match) -> Iterator[Flow]:
    width = len(second.fates.steps) + 1
    ours = first.fates.step[match.first].astype(np.int64) + 1
    counts = np.bincount(ours * width + second.fates.step[match.second] + 1)
    names = [None, *first.fates.steps], [None, *second.fates.steps]
    for at in np.argsort(-counts, kind="stable").tolist():
        if counts[at]:
            yield Flow(names[0][at // width], names[1][at % width], int(counts[at]))


def _notes(first: Reopened, second: Reopened, match: Match) -> Iterator[str]:
    orders = first.manifest.order, second.manifest.order
    for name, order in zip(("first", "second"), orders, strict=True):
        if order.command == "score":
            yield f"The {name} run only scored: what it keeps is what `select` would write."
    if orders[0].limit != orders[1].limit:
        limits = ["no limit" if o.limit is None else f"--limit {o.limit}" for o in orders]
        yield f"The first run was made with {limits[0]}, the second with {limits[1]}."
    if match.by == "id":
        found = list(differences(first.manifest.input, second.manifest.input))
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        yield f"The second run read another input: {'; '.join(found[:5])}{more}."


def _shares(
    first: Finished, second: Finished, match: Match, kept: tuple[Bools, Bools]
) -> Iterator[Shares]:
    parts = [part.name for part in first.parts]
    yield _counted("part", "", first.part_of()[match.first].astype(np.int64), parts, kept)
    fields = dict.fromkeys(s.group for run in (first, second) for s in run.steps if s.group)
    for field in fields:
        codes, words = _words(first, second, match, field)
        yield _counted("group", field, codes, words, kept)


def _counted(of: str, by: str, codes: Ints, names: list[str], kept: tuple[Bools, Bools]) -> Shares:
    known = codes >= 0
    sizes, *counts = (
        np.bincount(codes[known & who], minlength=len(names)) for who in (True, *kept)
    )
    here = np.flatnonzero(sizes)
    order = here[np.lexsort((-sizes[here], -np.abs(counts[0] - counts[1])[here]))]
    shares = (
        Share(names[at], int(sizes[at]), int(counts[0][at]), int(counts[1][at]))
        for at in order[:MOST_SHARES].tolist()
    )
    return Shares(of, by, len(here), tuple(shares))


def _words(first: Finished, second: Finished, match: Match, field: str) -> tuple[Ints, list[str]]:
    """The matched records' values of a field, as codes: -1 where no run has looked."""
    codes = np.full(len(match.first), -1, dtype=np.int64)
    known: dict[str | None, int] = {}
    for run, rows in ((first, match.first), (second, match.second)):
        for group in _groups(run, field):
            there = [known.setdefault(word, len(known)) for word in group.words]
            seen = np.append(np.array(there, dtype=np.int64), -1)[group.codes[rows]]
            codes = np.where(codes >= 0, codes, seen)
    return codes, [shown(word) for word in known]


def _groups(run: Finished, field: str) -> Iterator[Group]:
    for step in run.steps:
        if step.group == field and (group := run.grouping(step)) is not None:
            yield group
