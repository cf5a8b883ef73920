"""A calibration on the terminal: tables, the cost, and what to paste into the recipe."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from qaqfilter.printable import printable
from qaqfilter_calibrate.plain import Data

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
    costs = _percent(data["chain"], "cost")
    chain = Table(title=f"the chain: costs {costs} % of the sample", show_edge=False)
    chain.add_column("damage", no_wrap=True)
    chain.add_column("records", justify="right")
    chain.add_column("caught %", justify="right", no_wrap=True)
    steps = [step["step"] for step in data["steps"] if step["keeps"] != "scores"]
    for step in steps:
        chain.add_column(f"first by {printable(step)}", justify="right")
    for one in data["chain_catches"]:
        first = [_number(one["by_step"][step]) for step in steps]
        name = printable(one["damage"])
        chain.add_row(name, str(one["records"]), _percent(one, "caught"), *first)
    yield chain


def _step(data: Data, step: Data) -> Table:
    told = f"{step['step']} ({step['use']}): by {step['judged']}, {_DIRECTIONS[step['keeps']]}"
    costs = "" if step["keeps"] == "scores" else f", costs {_percent(step, 'cost')} %"
    # Without edges nine damages with their intervals fit into 80 columns.
    table = Table(title=printable(f"{told}{costs}"), show_edge=False)
    table.add_column("damage", overflow="fold")
    for heading in ("null", "caught %", "AUC", "1 bound %", "2 bounds %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in data["catches"]:
        if one["step"] == step["step"]:
            table.add_row(
                printable(one["damage"]),
                str(one["nulls"]),
                "-" if step["keeps"] == "scores" else _percent(one, "caught"),
                "-" if one["auc"] is None else f"{one['auc']:.2f}",
                _percent(one, "one_sided"),
                _percent(one, "two_sided"),
            )
    return table


def legend(data: Data) -> str:
    """What the tables' columns are."""
    return (
        "caught: at the recipe's thresholds. AUC: 0.5 is no signal, below it the damage scores as "
        "the good should. 1 bound, 2 bounds: caught by the best cut that costs "
        f"{_number(data['cost'])} % of the sample. In brackets the middle {_number(data['level'])} "
        f"% of {data['bootstrap']} resamples."
    )


def suggested(data: Data) -> Iterator[str]:
    """Lines of YAML, each below what is to be known of it."""
    yield (
        f"suggested, each step by itself, for a cost of {_number(data['cost'])} % (costs of "
        "several steps add up):"
    )
    for one in data["suggestions"]:
        yield (
            f"  # {printable(one['step'])}: catches {_number(one['catch'])} % on average; chosen "
            f"and measured on different records {_percent(one, 'caught_elsewhere')} % at a cost "
            f"of {_number(one['cost_elsewhere'])} %"
        )
        if one["yaml"] is None:
            yield (
                "  # no bound that costs so little catches anything: of the sample, or of a bin of "
                "its strata, that is less than a record; take more with -n"
            )
            continue
        for name in ("low", "high"):
            if one[name] is not None:
                yield f"  # {name} bound {_range(one, name)}"
        yield f"  {one['yaml']}"


def _range(one: Data, name: str) -> str:
    """A bound's interval; `none` where resamples have no such bound."""
    low, high = one[f"{name}_low"], one[f"{name}_high"]
    ends = ["none" if end is None else f"{end:.4g}" for end in (low, high)]
    return f"{one[name]:.4g} ({ends[0]} to {ends[1]})"


def _percent(one: Data, name: str) -> str:
    value, low, high = one[name], one[f"{name}_low"], one[f"{name}_high"]
    ends = _number(low), _number(high)
    if value is None or set(ends) <= {_number(value), "-"}:
        return _number(value)
    return f"{_number(value)} ({ends[0]}-{ends[1]})"


def _number(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"
