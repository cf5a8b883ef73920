"""What steps name: columns (`strata.by`, options of some selectors), `group` also a field."""

from __future__ import annotations

from collections.abc import Sequence

from qaqfilter.blocks import Block, BlockReader, suggestion
from qaqfilter.options import COLUMNS, fields_marked
from qaqfilter.printable import printable
from qaqfilter.recipe_keys import StepKeys
from qaqfilter.selectors import Labels, Selector

_TAKEN = ("group", "measured")
"""What `scores.parquet` holds of a step beside its columns."""


def check_names(
    reader: BlockReader, steps: Sequence[tuple[Selector, StepKeys, Block]]
) -> list[str | None]:
    """For each step the column that its `group` names; None where that is a field, or nothing.

    A name is a column's where its part before the first dot is the id of a step. What is not
    there is complained of.
    """
    ids = [keys.id for _, keys, _ in steps]
    numbers: list[str] = []
    words: list[str] = []
    found: list[str | None] = []
    for index, (selector, keys, block) in enumerate(steps):
        own = list(selector.columns)
        labels = list(selector.labels) if isinstance(selector, Labels) else []
        if clash := [name for name in labels if name in (*own, *_TAKEN)]:
            reader.complain(
                ("steps", index, "use"), f"the selector's label {clash[0]!r} is taken; rename it"
            )
        _check_rules(reader, index, keys)
        if keys.strata is not None and keys.strata.by not in own + numbers:
            _no_column(reader, ("steps", index, "strata", "by"), keys.strata.by, own + numbers)
        for option in fields_marked(block.component.config, COLUMNS):
            for name in getattr(block.options, option):
                if name not in numbers:
                    _no_column(reader, ("steps", index, option, name), name, numbers)
        numbers += [f"{keys.id}.{name}" for name in own]
        words += [f"{keys.id}.{name}" for name in labels]
        name = keys.group
        if name is None or name.partition(".")[0] not in ids or "." not in name:
            found.append(None)
            continue
        found.append(name)
        owner, location = name.partition(".")[0], ("steps", index, "group")
        if owner not in ids[: index + 1]:
            reader.complain(
                location,
                f"step {owner!r} comes later; put it before this one (or rename it, "
                f"if {name!r} is a field of the record)",
            )
        elif name not in numbers + words:
            there = [column for column in numbers + words if column.startswith(f"{owner}.")]
            hint = f"rename step {owner!r} if {name!r} is a field of the record"
            _no_column(reader, location, name, there, f"; {hint}")
    return found


def _check_rules(reader: BlockReader, index: int, keys: StepKeys) -> None:
    for key in ("strata", "group"):
        if getattr(keys, key) is not None and (keys.keep is None or keys.keep.per_record):
            reader.complain(
                ("steps", index, key),
                "works beside a `keep` with rank, top, fraction or quota, and there is none here",
            )
    if keys.keep is not None and keys.keep.quota is not None and keys.group is None:
        reader.complain(
            ("steps", index, "keep", "quota"),
            "is so many of each group, and the step has no `group`: name a field or a column there",
        )


def _no_column(
    reader: BlockReader,
    location: tuple[str | int, ...],
    name: str,
    there: Sequence[str],
    more: str = "",
) -> None:
    shown = ", ".join(map(printable, there)) or "none"
    reader.complain(
        location, f"no column {name!r}{suggestion(name, there)} (columns: {shown}){more}"
    )
