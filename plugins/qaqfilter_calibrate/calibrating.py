"""From a recipe to the account of what it catches: draw, damage, score, place, count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qaqfilter import Damage, Observer, Recipe, UsageError
from qaqfilter.input_parts import whole_digest
from qaqfilter.protocols import Source
from qaqfilter.sampling import drawn, surveyed
from qaqfilter.stream import RecordStream
from qaqfilter_calibrate.account import Account
from qaqfilter_calibrate.copies import Copies, make_copies
from qaqfilter_calibrate.judging import Judgement
from qaqfilter_calibrate.placing import place_all
from qaqfilter_calibrate.plain import Data
from qaqfilter_calibrate.statistics import LEVEL, Draws

FORMAT = 1
TIMES = 1000
"""Resamples."""
FEW = 30
"""Records of which shares say little."""


def load_damages(recipe: Recipe, names: tuple[str, ...]) -> dict[str, Damage]:
    """The damages by name, all that there are by default. Raises PluginError for an unknown one."""
    manager = recipe.manager
    wanted = dict.fromkeys(names or manager.names("damage"))
    components = {name: manager.require("damage", name) for name in wanted}
    if not components:
        raise UsageError("no plugin offers a damage: is qaqfilter_damages blocked?")
    return {name: made.create(made.config()) for name, made in components.items()}


def calibrate(
    recipe: Recipe,
    observer: Observer,
    damages: Mapping[str, Damage],
    *,
    records: int = 200,
    seed: int = 0,
    cost: float = 0.1,
    times: int = TIMES,
) -> Data:
    """The account, as plain data (`account.py` says what is in it).

    Models are loaded, and scores go to the score store; nothing else is written. Raises UsageError
    where the input has fewer than two records, or none that can be damaged; else what a run does.
    """
    source: Source = recipe.source.make()
    observer.started("reading", None)
    stream = surveyed(RecordStream(source, recipe.input, plugin=recipe.source.plugin))
    clean = drawn(stream, records, seed)
    observer.advanced(len(clean), 0)
    observer.finished()
    if len(clean) < 2:
        raise UsageError(
            f"the input has {len(clean)} good record(s); to calibrate takes 2 at least, and a few "
            "hundred to say much"
        )
    copies = make_copies(clean, damages, seed)
    if not copies.records:
        raise UsageError(
            f"none of {len(clean)} records could be damaged ({', '.join(damages)}): are the "
            "answers empty?"
        )
    share = len(clean) / stream.records
    places, lost = place_all(recipe, observer, clean, copies, share=share)
    draws = Draws.of(len(clean), times, seed)
    account = Account([Judgement(one, copies, cost) for one in places], lost, draws)
    summaries = {name: recipe.manager.component("damage", name).summary for name in damages}
    return {
        "format": FORMAT,
        "name": recipe.name,
        "recipe": recipe.resolved(),
        "seed": seed,
        "records": len(clean),
        "cost": cost,
        "bootstrap": times,
        "level": LEVEL,
        "input": {
            "records": stream.records,
            "bad": stream.bad,
            "digest": whole_digest(stream.parts),
        },
        "notes": list(_notes(recipe, copies, len(clean), stream.records)),
        "damages": [
            {
                "damage": name,
                "summary": summaries[name],
                "records": int((copies.damage == kind).sum()),
            }
            for kind, name in enumerate(copies.names)
        ],
        "steps": list(account.steps()),
        "catches": list(account.catches()),
        "chain": account.chain(),
        "chain_catches": list(account.chain_catches()),
        "suggestions": list(account.suggestions()),
        "histograms": list(account.histograms()),
        "missed": list(account.missed()),
    }


def _notes(recipe: Recipe, copies: Copies, size: int, records: int) -> Iterator[str]:
    yield (
        "The sample is taken to be clean. What is bad in it already counts as good: then costs are "
        "overstated, and catches of like damage understated."
    )
    whole = [step.id for step in recipe.steps if step.keys.keep and not step.keys.keep.per_record]
    if whole and size < records:
        yield (
            f"Ranks are those among the {size} records of the sample, and counts are scaled to "
            f"it: over all {records} records, {', '.join(whole)} may decide otherwise."
        )
    made = {name: int((copies.damage == kind).sum()) for kind, name in enumerate(copies.names)}
    for name, count in made.items():
        if not count:
            yield f"{name}: none of the records can be damaged so"
        elif count < FEW <= size:
            yield f"{name}: only {count} records can be damaged so, which says little"
    if size < FEW:
        yield f"The sample has only {size} records, which says little: take more with -n."
