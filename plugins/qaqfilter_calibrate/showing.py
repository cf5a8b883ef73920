"""A calibration on the terminal: tables, the cost, and what to paste into the recipe."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from qaqfilter.printable import printable
from qaqfilter_calibrate.account import Data

_DIRECTIONS = {
    "high": "keeps high",
    "low": "keeps low",
    "between": "keeps what is between",
    "itself": "decides itself",
    "scores": "only scores",
}


def tables(data: Data) -> Iterator[Table]:
    """One for each step, and one for the chain."""
    for step in data["steps"]:
        yield _step(data, step)
    chain = Table(title=f"the chain; costs {_between(data['chain'], 'cost')} of the sample")
    chain.add_column("damage")
    chain.add_column("records", justify="right")
    chain.add_column("caught", justify="right")
    steps = [step["step"] for step in data["steps"] if step["keeps"] != "scores"]
    for step in steps:
        chain.add_column(f"first by {printable(step)}", justify="right")
    for one in data["chain_catches"]:
        first = [_percent(one["by_step"][step]) for step in steps]
        name = printable(one["damage"])
        chain.add_row(name, str(one["records"]), _between(one, "caught"), *first)
    yield chain


def _step(data: Data, step: Data) -> Table:
    costs = "" if step["keeps"] == "scores" else f"; costs {_between(step, 'cost')}"
    table = Table(
        title=printable(
            f"{step['step']} ({step['use']}, by {step['judged']}, {_DIRECTIONS[step['keeps']]})"
            f"{costs}"
        )
    )
    table.add_column("damage")
    equal = f"at {_percent(data['cost'])} cost"
    headings = ("null", "caught", "AUC", f"one bound {equal}", f"two bounds {equal}")
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in data["catches"]:
        if one["step"] == step["step"]:
            table.add_row(
                printable(one["damage"]),
                str(one["nulls"]),
                "-" if step["keeps"] == "scores" else _percent(one["caught"]),
                _auc(one),
                _between(one, "one_sided"),
                _between(one, "two_sided"),
            )
    return table


def suggested(data: Data) -> Iterator[str]:
    """Lines of YAML, each below what is to be known of it."""
    yield (
        f"suggested, each step by itself, for a cost of {_percent(data['cost'])} (costs of several "
        "steps add up):"
    )
    for one in data["suggestions"]:
        told = (
            f"catches {_percent(one['catch'])} on average; chosen and measured on different "
            f"records {_between(one, 'caught_elsewhere')} at a cost of "
            f"{_between(one, 'cost_elsewhere')}"
        )
        yield f"  # {printable(one['step'])}: {told}"
        if one["yaml"] is None:
            yield "  # no bound: as many records as may be lost have no score"
            continue
        for name in ("low", "high"):
            if one[name] is not None:
                yield f"  # {name} bound {_range(one, name)}"
        yield f"  {one['yaml']}"


def _range(one: Data, name: str) -> str:
    """A bound's interval; an open end stands for resamples without this bound."""
    low, high = one[f"{name}_low"], one[f"{name}_high"]
    if low is None and high is None:
        return f"{one[name]:.4g} (most resamples have none)"
    ends = ["none" if end is None else f"{end:.4g}" for end in (low, high)]
    return f"{one[name]:.4g} ({ends[0]} to {ends[1]})"


def _between(one: Data, name: str) -> str:
    value, low, high = one[name], one[f"{name}_low"], one[f"{name}_high"]
    if value is None:
        return "-"
    if low is None or high is None:
        return _percent(value)
    return f"{_percent(value)} ({100 * low:.0f} to {100 * high:.0f})"


def _auc(one: Data) -> str:
    if one["auc"] is None:
        return "-"
    return f"{one['auc']:.2f} ({one['auc_low']:.2f} to {one['auc_high']:.2f})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
