"""All that is known of one record of a run: where it stands, its accounts, its heatmaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from qaqfilter.reopening import Reopened
from qaqfilter_report.account_words import fate
from qaqfilter_report.explaining import LikelihoodAccount, StepAccount, explained
from qaqfilter_report.heatmap import Cell, Heatmap, Side


@dataclass(slots=True)
class Explanation:
    """`labels` are the ids of the record's neighbours, by row.

    `errors` say what there is not, and should be; `notes`, what there cannot be.
    """

    run: str
    id: str
    row: int
    part: str
    ordinal: int
    steps: tuple[StepAccount, ...]
    labels: Mapping[int, str]
    heatmaps: list[Heatmap] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """As plain data, for programs."""
        return {
            "run": self.run,
            "id": self.id,
            "row": self.row,
            "part": self.part,
            "ordinal": self.ordinal,
            "outcome": fate(self.steps),
            "steps": [self._step(account) for account in self.steps],
            "heatmaps": [
                {
                    "view": one.view,
                    "exchanges": [
                        {name: _side(side) for name, side in exchange.sides()}
                        for exchange in one.exchanges
                    ],
                }
                for one in self.heatmaps
            ],
            "errors": self.errors,
            "notes": self.notes,
        }

    def _step(self, account: StepAccount) -> dict[str, Any]:
        data = asdict(account)
        data["likelihoods"] = [_likelihood(one) for one in account.likelihoods]
        for one in (*data["below"], *data["above"]):
            one["id"] = self.labels[one["row"]]
        return data


def explanation(found: Reopened, label: str) -> Explanation:
    """Of the record that is called so, or stands there, without heatmaps.

    Raises UsageError where none is.
    """
    row = found.row_of(label)
    steps = explained(found.run, [row])[row]
    beside = {one.row for step in steps for one in (*step.below, *step.above)}
    places = _places(found, beside | {row})
    id_, part, ordinal = places[row]
    labels = {other: places[other][0] for other in beside}
    return Explanation(str(found.where), id_, row, part, ordinal, steps, labels)


def _places(found: Reopened, rows: set[int]) -> dict[int, tuple[str, str, int]]:
    """Label, part and ordinal of some rows."""
    wanted, at = sorted(rows), 0
    places: dict[int, tuple[str, str, int]] = {}
    for piece in found.scored.places():
        while wanted and wanted[0] < at + len(piece.id):
            row = wanted.pop(0)
            id_, part, ordinal = (array[row - at].as_py() for array in piece)
            places[row] = (id_, part, ordinal)
        at += len(piece.id)
    return places


def _likelihood(one: LikelihoodAccount) -> dict[str, Any]:
    return {
        "name": one.name,
        **asdict(one.whole),
        "nll": one.whole.nll,
        "exchanges": [{**asdict(each), "nll": each.nll} for each in one.exchanges],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "missing": side.missing,
        "alone": side.alone,
        "given": side.given,
        "cut": side.cut,
        "tokens": [_cell(cell) for cell in side.cells],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {**asdict(cell), "gain": cell.gain}
