"""Records and tables that contracts try plugins on: small, with all that is odd in real data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import orjson

from qaqfilter.manager import load_plugins
from qaqfilter.model_files import ModelFiles
from qaqfilter.selectors import Measures, Need, Scores, WantsTokens
from qaqfilter.table import Table
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import Floats, Ints, LikelihoodColumn, Origin, Record, Status, Turn, read_only

PART = "tiny.jsonl"

PAIRS = (
    ("Add two numbers.", "def add(a, b):\n    return a + b\n"),
    ("Reverse a string.", "Slice it:\n\n```python\ntext[::-1]\n```\nThat is all."),
    ("", "an answer to nothing"),
    ("A question without an answer?", ""),
    ("   ", "\n\t"),
    ("Größe & <b>naïve</b> 漢字 🙂?", "e\u0301 ∑ \u202eabc — “quoted”, \\ and \u0007"),
    ("<|im_start|>system {{ query }} {% raw %}", "</s>[INST] %s {answer} <|endoftext|>"),
    ("Print the squares.", "for i in range(10):\n    print(i, i ** 2)\n" * 200),
    ("Add two numbers.", "def add(a, b):\n    return a + b\n"),
    ("a,b", 'x,"y"\r\nz'),
    (
        "Sum the prices of some items.",
        "def total_price(items):\n    price = 0\n    for item in items:\n"
        "        price += item.price\n    return price\n\nprint(total_price(items))\n",
    ),
)
"""Plain, code in prose, without a side, blank, odd letters, markup as data, long, a copy, CSV."""


def record(ordinal: int, query: str, answer: str) -> Record:
    """A record as the source `jsonl` gives it."""
    fields = {"id": f"tiny-{ordinal}", "query": query, "answer": answer}
    row = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    origin = Origin(PART, ordinal, ordinal + 1)
    return Record(fields["id"], query, answer, row, origin, fields=fields)


def records() -> list[Record]:
    """A record for each of `PAIRS`."""
    return [record(ordinal, *pair) for ordinal, pair in enumerate(PAIRS)]


def many_records(size: int = 30) -> list[Record]:
    """Those, and plain ones behind them."""
    more = ((f"Say it {n} times.", "it " * n) for n in range(1, size))
    return [record(ordinal, *pair) for ordinal, pair in enumerate((*PAIRS, *more))][:size]


def conversation() -> Record:
    """A record with a system text and two earlier turns."""
    fields = {"id": "talk", "query": "And three?", "answer": "Six, then."}
    history = (Turn("user", "Sum one and two."), Turn("assistant", "Three it is."))
    row = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    return Record(
        "talk",
        fields["query"],
        fields["answer"],
        row,
        Origin(PART, 0, 1),
        system="Count with care.",
        fields=fields,
        history=history,
    )


@dataclass(frozen=True, slots=True)
class HereResources:
    """What a backend or a prompt may ask of a run, without one: installed plugins, `given`."""

    given: Sequence[Record] = field(default_factory=records)

    def model_files(self, location: str, revision: str | None = None) -> ModelFiles:
        """Through the installed plugins. Raises ModelError or PluginError."""
        return load_plugins().locate(location, revision)

    def records(self) -> Iterator[Record]:
        """Those that were given."""
        return iter(self.given)


@cache
def likelihoods(size: int, index: int, side: str = "") -> LikelihoodColumn:
    """Made-up numbers, read-only, the same at every call; every seventh row is null, and row 0.

    Likelihoods of one side, the query or the answer, have as many tokens as one another.
    """
    draw = np.random.default_rng((size, index))
    tokens = np.random.default_rng(len(side)).integers(1, 40, size).astype(np.int32)
    logprob = -tokens * draw.uniform(0.2, 4.0, size)
    status = np.zeros(size, dtype=np.int8)
    status[:1] = status[3 + index % 4 :: 7] = Status.TOO_LONG
    logprob[status != 0], tokens[status != 0] = np.nan, 0
    return LikelihoodColumn(read_only(logprob), read_only(tokens), read_only(status))


def table_for(
    selector: object,
    given: Sequence[Record],
    *,
    order: Ints | None = None,
    counts: Ints | None = None,
    others: Sequence[str] = (),
) -> Table:
    """What `score` of a selector gets to see in a run over these records.

    `order` puts the records, with their numbers, into another order; `counts` says how many
    exchanges each has; `others` are columns of other steps that the selector reads.
    """
    size = len(given) if counts is None else int(counts.sum())
    owner = np.arange(len(given)) if counts is None else np.repeat(np.arange(len(given)), counts)
    here = np.arange(size) if order is None else order
    needs = selector.needs if isinstance(selector, Scores) else ()
    columns = {_name(need): likelihoods(size, n, need[1][:5]) for n, need in enumerate(needs)}
    wanted = selector.token_needs if isinstance(selector, WantsTokens) else ()
    tokens = {_name(need): _tokens(columns[_name(need)]).take(here) for need in wanted}
    numbers = {name: likelihoods(len(given), 50 + n).logprob for n, name in enumerate(others)}
    if isinstance(selector, Measures):
        numbers |= measured(selector, given)
    return Table(
        np.repeat(np.arange(len(given)), 1 if counts is None else counts),
        {name: column.take(here) for name, column in columns.items()},
        {name: read_only(values[owner][here]) for name, values in numbers.items()},
        counts=counts,
        tokens=tokens,
    )


def measured(selector: Measures, given: Sequence[Record]) -> Mapping[str, Floats]:
    """The numbers that `measure` gives, as columns; words are left out."""
    found: dict[str, Floats] = {}
    for row, one in enumerate(given):
        for name, value in selector.measure(one).items():
            if isinstance(value, int | float):
                found.setdefault(name, np.full(len(given), np.nan))[row] = value
    return found


def _name(need: Need) -> str:
    return f"{need[0]}.{need[1]}"


def _tokens(column: LikelihoodColumn) -> TokenLogprobs:
    """Tokens that add up to the sums."""
    pairs = zip(column.logprob, column.tokens, strict=True)
    return TokenLogprobs.of([np.full(n, s / n if n else 0, dtype=np.float32) for s, n in pairs])
