"""An account in words, the same for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from qaqfilter import Rejection
from qaqfilter_report.explaining import Neighbour, StepAccount, Sum, Test
from qaqfilter_report.wording import number

DIGITS = 6
"""Of a number that is compared with another."""

_ASKS = {
    "min": "at least {}",
    "above": "above {}",
    "max": "at most {}",
    "below": "below {}",
    "rank_from": "at least {}",
    "rank_to": "below {}",
    "top": "at least {}, the lowest of those that are in",
    "fraction": "at least {}, the lowest of those that are in",
    "quota": "at least {}, the lowest of its group that is in",
}
_FAILS = {
    "min": "is below {}",
    "above": "is not above {}",
    "max": "is above {}",
    "below": "is not below {}",
    "rank_from": "is below {}",
    "rank_to": "is not below {}",
    "top": "does not come before {}, the lowest that is in",
    "fraction": "does not come before {}, the lowest that is in",
    "quota": "does not come before {}, the lowest of its group that is in",
}


class Row(NamedTuple):
    """A line of the table of neighbours; `own` is the record itself."""

    id: str
    value: str
    outcome: str
    own: bool


def fate(accounts: Sequence[StepAccount]) -> str:
    """What became of a record in the whole chain."""
    final = _final(accounts)
    return "kept" if final is None else f"rejected by {final.step}, {final.reason}"


def headline(account: StepAccount) -> str:
    """What a step decided, and why."""
    if not account.reached:
        return "not reached: an earlier step had rejected it"
    if account.rejection is not None:
        return f"rejected: {_rejected(account, account.rejection)}"
    if account.own_rule:
        return "passed: the selector decides by itself"
    if account.keep is None:
        return "passed: the step only scores"
    if account.keep.get("invert"):
        return "passed: it fails a rule, and the rules are inverted"
    return "passed: every rule holds"


def _rejected(account: StepAccount, rejection: Rejection) -> str:
    if account.own_rule:
        judged = "" if rejection.value is None else f", {full(rejection.value)}"
        against = "" if rejection.bound is None else f" against {full(rejection.bound)}"
        return f"{rejection.reason}{judged}{against}"
    if rejection.reason == "no_stratum":
        return "no_stratum, the column that makes the strata has no number of it"
    if account.value is None:
        return f"{rejection.reason}, so there is no score"
    if rejection.reason == "invert":
        return "every rule holds, and the rules are inverted"
    for test in account.tests:
        if test.holds is False:
            fails = _FAILS[test.rule].format(full(test.bound))
            return f"{rejection.reason}, its {test.on} {full(test.number)} {fails}"
    return rejection.reason


def facts(account: StepAccount) -> Iterator[tuple[str, str]]:
    """Every number of a step, with what it is."""
    if not account.reached:
        return
    yield account.column, full(account.value)
    for name, value in (account.others or {}).items():
        yield name, full(value)
    yield from (account.words or {}).items()
    for likelihood in account.likelihoods:
        yield likelihood.name, _likelihood(likelihood.whole)
        for turn, one in enumerate(likelihood.exchanges, start=1):
            yield f"  exchange {turn}", _likelihood(one)
    if account.stratum is not None:
        yield "stratum", _stratum(account)
    if account.group is not None:
        word = "nobody looked" if account.group.word is None else account.group.word
        yield "group", f"{account.group.by}: {word}"
    if (place := account.place) is not None:
        among = " of its stratum" * (account.stratum is not None)
        among += " and group" * (account.group is not None and bool(among))
        among = among or " of its group" * (account.group is not None)
        text = f"{full(place.rank)}: {place.below} of {place.of}{among} are lower"
        yield "rank", text + (f", {place.equal - 1} equal" if place.equal > 1 else "")
    if account.keep is not None:
        yield "keep", _written(account.keep)
        for test in account.tests:
            yield f"  {test.rule.replace('_', ' ')}", _test(test)


def neighbours(
    account: StepAccount, accounts: Sequence[StepAccount], labels: Mapping[int, str], own: str
) -> list[Row]:
    """The record among those next to it, the highest first; empty where it has none.

    `account` is one of `accounts`, those of the record; `own` is its id.
    """
    if not (account.below or account.above):
        return []
    outcome = _outcome(_final(accounts), passed=account.passed)
    return [
        *(_neighbour(one, labels) for one in reversed(account.above)),
        Row(own, full(account.value), outcome, True),
        *(_neighbour(one, labels) for one in account.below),
    ]


def full(value: float | None) -> str:
    """A number that may be close to another."""
    return number(value, DIGITS)


def _final(accounts: Sequence[StepAccount]) -> Rejection | None:
    return next((one.rejection for one in accounts if one.rejection is not None), None)


def _neighbour(one: Neighbour, labels: Mapping[int, str]) -> Row:
    outcome = _outcome(one.rejection, passed=one.passed)
    return Row(labels.get(one.row, f"row {one.row}"), full(one.value), outcome, False)


def _outcome(final: Rejection | None, *, passed: bool) -> str:
    if final is None:
        return "kept"
    later = f"passed; rejected by {final.step}, {final.reason}"
    return later if passed else f"rejected, {final.reason}"


def _likelihood(one: Sum) -> str:
    if one.logprob is None:
        return f"none ({one.missing})"
    tokens = "1 token" if one.tokens == 1 else f"{one.tokens} tokens"
    return f"{full(one.logprob)} nats, {tokens}: {number(one.nll)} a token (nll)"


def _stratum(account: StepAccount) -> str:
    assert account.stratum is not None
    one = account.stratum
    if one.index is None:
        return f"none: {one.by} has no number"
    return (
        f"{one.index + 1} of {one.bins}: {one.by} is {full(one.value)}, in here from "
        f"{full(one.low)} to {full(one.high)}"
    )


def _test(test: Test) -> str:
    asks = _ASKS[test.rule].format(full(test.bound))
    outcome = {True: "yes", False: "no", None: "decided before"}[test.holds]
    return f"is its {test.on} {full(test.number)} {asks}? {outcome}"


def _written(keep: Mapping[str, Any]) -> str:
    """As it would stand in a recipe, nearly."""
    return ", ".join(f"{key}: {orjson.dumps(value).decode()}" for key, value in keep.items())
