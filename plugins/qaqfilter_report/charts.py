"""Charts as Vega-Lite specifications, each with the table that says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nobody fetches it
OUTCOMES = ("kept", "rejected here")
HEIGHT = 200

Spec = Mapping[str, Any]


class Axis(NamedTuple):
    """An axis on which a region can be selected.

    `field` is what the chart calls it, `column` what the sampled records do.
    """

    field: str
    column: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and the same numbers as a table.

    Attributes
    ----------
    id: of the element it is drawn into.
    says: the whole in a sentence, for those who do not see it.
    caption: how to read it.
    pick: the axes of the region that can be selected; none where nothing can.
    head, rows: the table.
    """

    id: str
    title: str
    says: str
    caption: str
    spec: Spec
    pick: Sequence[Axis] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=tuple)

    @property
    def data(self) -> dict[str, Any]:
        """What the script that draws is given."""
        return {
            "id": self.id,
            "spec": {"$schema": SCHEMA, **self.spec},
            "pick": [axis._asdict() for axis in self.pick] or None,
        }


def values(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as a chart's data."""
    return {"values": list(rows)}


def quantitative(name: str, title: str | None, **more: Any) -> dict[str, Any]:
    """An axis of numbers."""
    return {"field": name, "type": "quantitative", "title": title, **more}


def outcome(name: str = "outcome", among: Sequence[str] = OUTCOMES) -> dict[str, Any]:
    """Colour by what became of records."""
    return {
        "field": name,
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(among)},
        "legend": {"orient": "top"},
    }


def rule(values_: Sequence[float], name: str, channel: str = "x") -> dict[str, Any]:
    """Dashed lines across a chart at some values."""
    return {
        "data": values([{name: value} for value in values_]),
        "mark": {"type": "rule", "strokeDash": [4, 3]},
        "encoding": {channel: {"field": name, "type": "quantitative"}},
    }
