"""How records travel: by their fields, and made anew by the class; dataclasses' own way is slow.

Importing this registers it. What is unpickled needs no import.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

from qaqfilter.types import Origin, Record


def _by_fields(kind: type[Record] | type[Origin]) -> Callable[[Any], tuple[Any, ...]]:
    values = attrgetter(*(field.name for field in fields(kind)))
    return lambda one: (kind, values(one))


copyreg.pickle(Record, _by_fields(Record))
copyreg.pickle(Origin, _by_fields(Origin))
