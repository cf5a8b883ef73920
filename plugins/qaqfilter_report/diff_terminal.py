"""A comparison of two runs on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from qaqfilter.cli.say import safe
from qaqfilter.printable import printable
from qaqfilter_report.cards import Card, short
from qaqfilter_report.comparing import Alone, Comparison, Lost, Shares
from qaqfilter_report.diff_models import ModelPair
from qaqfilter_report.examples import Example, Examples, Shown
from qaqfilter_report.wording import count, number, percent, seconds

SHARES = 8
IDS = 5
LINE = 300
"""Characters of a query or an answer."""


def show(console: Console, found: Comparison, shown: Shown) -> None:
    """Print everything."""
    console.print(printable(f"first:  {found.first}"), soft_wrap=True)
    console.print(printable(f"second: {found.second}"), soft_wrap=True)
    for line in sentences(found, shown):
        console.print(printable(line))
    for title, table in _tables(found):
        console.print(printable(title))  # not the table's own, which is folded to its width
        console.print(table)
    for line in _what_differs(found):
        console.print(printable(line), soft_wrap=True)
    for title, examples in zip(titles(found), (shown.first, shown.second), strict=True):
        _show_examples(console, title, examples)


def sentences(found: Comparison, shown: Shown) -> Iterator[str]:
    """Which records are compared, how much the two agree, and what else one should know."""
    how = "the same input" if found.matched_by == "row" else "matched by id"
    yield f"{count(found.matched)} records are in both ({how})."
    for name, alone in (("first", found.unmatched_first), ("second", found.unmatched_second)):
        if alone.records:
            yield _alone(name, alone)
    if found.same:
        yield f"Both keep the same {count(found.both)} of them."
    elif found.overlap is not None:
        yield f"Of those that either keeps, both keep {percent(found.overlap, 1)}."
        yield _by_chance(found)
    yield from found.notes
    if shown.other:
        yield (
            f"Of {count(shown.compared)} records with one id in both runs, drawn at random, "
            f"{count(shown.other)} have another text in the second: these are not the same records."
        )


def _alone(name: str, alone: Alone) -> str:
    ids = ", ".join(short(label, 60) for label in alone.ids[:IDS])
    more = ", …" if alone.records > IDS else ""
    return (
        f"{count(alone.records)} are in the {name} alone, which keeps {count(alone.kept)} of them; "
        f"they are not compared: {ids}{more}"
    )


def _by_chance(found: Comparison) -> str:
    above = found.above_chance
    text = (
        f"They share {count(found.both)} records; at random they would share "
        f"{number(found.by_chance, 3)}"
    )
    if above is None:
        return f"{text}."
    where = "above" if above >= 0 else "below"
    spread = number(found.chance_sd, 2)
    return f"{text} ± {spread} ({abs(above):.1f} standard deviations {where} chance)."


def titles(found: Comparison) -> tuple[str, str]:
    """Of the two directions."""
    return (
        f"kept by the first alone ({count(found.only_first)})",
        f"kept by the second alone ({count(found.only_second)})",
    )


def _tables(found: Comparison) -> Iterator[tuple[str, Table]]:
    kept = _table("", "second keeps", "second drops")
    kept.add_row("first keeps", count(found.both), count(found.only_first))
    kept.add_row("first drops", count(found.only_second), count(found.neither))
    yield "who keeps them", kept
    for title, lost in (
        ("kept by the first alone: where the second dropped them", found.lost_by_second),
        ("kept by the second alone: where the first dropped them", found.lost_by_first),
    ):
        if lost:
            yield title, _lost(lost)
    if found.scores:
        yield "scores that both have; shift is second minus first", _scores(found)
    for shares in found.shares:
        if shares.size > 1:
            yield _shares(shares)
    if found.lengths and not found.same:
        lengths = _table("side", "by", "both keep", "first alone", "second alone", "neither")
        for it in found.lengths:
            medians = (it.both, it.only_first, it.only_second, it.neither)
            lengths.add_row(it.side, printable(it.view), *(_count(m) for m in medians))
        yield "median length in tokens", lengths
    if found.models:
        models = _table("model", "run", "tokens computed", "from the store", "time")
        for pair in found.models:
            _add_model(models, pair)
        yield "models", models


def _lost(lost: Sequence[Lost]) -> Table:
    table = _table("step", "reason", "records")
    for one in lost:
        table.add_row(printable(one.step), printable(one.reason), count(one.records))
    return table


def _scores(found: Comparison) -> Table:
    """What steps judge, and what has changed beside it."""
    table = _table("column", "records", "rank corr.", "shift", "changed")
    same = 0
    for one in found.scores:
        if one.judged or one.changed:
            rank = "–" if one.rank is None else number(one.rank, 3)
            shift, changed = number(one.shift, 3), count(one.changed)
            table.add_row(printable(one.column), count(one.records), rank, shift, changed)
        else:
            same += 1
    if same:
        table.add_row(f"{count(same)} more", "", "", "", "0")
    return table


def _shares(shares: Shares) -> tuple[str, Table]:
    part = shares.of == "part"
    title = "kept of each part of the input" if part else f"kept of each group by {shares.by}"
    if shares.size > SHARES:
        title += f", the {SHARES} of {count(shares.size)} that differ most"
    table = _table(shares.of, "records", "first", "second")
    for it in shares.shares[:SHARES]:
        kept = (f"{count(n)} ({percent(n, it.records)})" for n in (it.first, it.second))
        table.add_row(printable(short(it.name, 40)), count(it.records), *kept)
    return title, table


def _add_model(table: Table, pair: ModelPair) -> None:
    for run, asked in (("first", pair.first), ("second", pair.second)):
        if asked is not None:
            tokens = count(asked.tokens), count(asked.stored)
            table.add_row(printable(pair.name), run, *tokens, seconds(asked.seconds))


def _table(first: str, *others: str) -> Table:
    table = Table()
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _count(value: float | None) -> str:
    return "–" if value is None else count(value)


def _what_differs(found: Comparison) -> Iterator[str]:
    if found.changed:
        yield "the recipes differ in:"
        yield from (f"  {line}" for line in found.changed)
    else:
        yield "the recipes are the same"
    for pair in found.models:
        if pair.first and pair.second and not pair.same:
            yield f"{pair.name} is another model in the second run:"
            yield from (f"  {line}" for line in pair.changed)


def _show_examples(console: Console, title: str, examples: Examples) -> None:
    for what, some in (("at random", examples.drawn), ("the clearest", examples.clearest)):
        if some:
            console.print(f"\n{title}, {what}:")
        for one in some:
            _show_example(console, one)


def _show_example(console: Console, one: Example) -> None:
    record = one.record
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=8)
    table.add_column(overflow="fold")
    lines = [("  query", record.query), ("  answer", record.answer)]
    if record.history:
        lines.insert(0, ("  after", f"{len(record.history)} earlier turns"))
    if not one.same_text:
        lines.append(("  second's query", one.second.record.query))
        lines.append(("  second's answer", one.second.record.answer))
    for name, text in lines:
        line = " ".join(text[: 2 * LINE].split())
        table.add_row(name, safe(short(line, LINE)))
    for name, side in (("  first", one.first), ("  second", one.second)):
        table.add_row(name, printable(_numbers(side.card)))
    place = f"{short(record.origin.part)}#{record.origin.ordinal}"
    console.print(printable(f"{short(record.id)} ({place})"), soft_wrap=True)
    console.print(table)


def _numbers(card: Card) -> str:
    """What the steps of a run made of a record, in a line."""
    told = []
    for line in card.lines:
        rank = f" (rank {line.rank})" if line.rank != "–" else ""
        decided = f", out by {line.decided}" if line.decided != "passed" else ""
        told.append(f"{line.step} {line.score}{rank}{decided}")
    return "; ".join(["kept" if card.kept else "rejected", *told])
