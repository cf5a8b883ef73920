"""Real records that every machine has: functions of the standard library and their docstrings.

Lengths decide what a benchmark measures, so the choice follows them: of all records that are
short enough, those at equal distances in the order of their lengths. The same Python gives the
same records each time; another Python has another standard library.
"""

from __future__ import annotations

from collections.abc import Callable

from qaqfilter import Record
from qaqfilter.manager import PluginManager

CANDIDATES = 1000
"""How many functions are drawn from the standard library to choose from."""


def real_records(
    manager: PluginManager, count: int, max_tokens: int, tokens: Callable[[str], int]
) -> tuple[Record, ...]:
    """`count` records with at most `max_tokens` tokens a side, in the order of the source.

    `tokens` counts the tokens of a text. Raises SystemExit where there are too few such records.
    """
    component = manager.require("source", "docstrings")
    source = component.create(component.config(limit=CANDIDATES))
    found = [record for record in source.read() if isinstance(record, Record)]
    sizes = [(tokens(record.query), tokens(record.answer)) for record in found]
    fitting = [n for n, sides in enumerate(sizes) if min(sides) > 0 and max(sides) <= max_tokens]
    if len(fitting) < count:
        raise SystemExit(
            f"only {len(fitting)} records have at most {max_tokens} tokens a side; "
            f"ask for fewer than {count}, or allow more tokens"
        )
    by_length = sorted(fitting, key=lambda n: (sum(sizes[n]), n))
    chosen = [by_length[(2 * n + 1) * len(by_length) // (2 * count)] for n in range(count)]
    return tuple(found[n] for n in sorted(chosen))
