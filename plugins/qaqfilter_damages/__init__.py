"""Known ways to spoil a record, for `qaqfilter calibrate`; one file each."""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Damage, Options, hookimpl
from qaqfilter_damages.corrupted_identifiers import CorruptedIdentifiers
from qaqfilter_damages.echoed import Echoed
from qaqfilter_damages.invented_terms import InventedTerms
from qaqfilter_damages.near_swapped import NearSwapped
from qaqfilter_damages.refusal import Refusal
from qaqfilter_damages.shuffled_lines import ShuffledLines
from qaqfilter_damages.swapped import Swapped
from qaqfilter_damages.truncated import Truncated
from qaqfilter_damages.wrong_language import WrongLanguage

DAMAGES: dict[str, tuple[type[Damage], str]] = {
    "swapped": (Swapped, "the answer of another record"),
    "near_swapped": (NearSwapped, "the answer of the record that is most alike"),
    "echoed": (Echoed, "the query in place of the answer"),
    "truncated": (Truncated, "the first fifth of the answer"),
    "corrupted_identifiers": (CorruptedIdentifiers, "names of the answer misspelt in places"),
    "invented_terms": (InventedTerms, "an API that does not exist, in query and answer"),
    "wrong_language": (WrongLanguage, "code of another programming language"),
    "refusal": (Refusal, "a refusal in place of the answer"),
    "shuffled_lines": (ShuffledLines, "the lines of the answer in another order"),
}


@hookimpl
def qaqfilter_damages() -> Iterator[Component[Damage]]:
    """Nine damages, without options."""
    for name, (made, summary) in DAMAGES.items():
        yield Component(name, Options, lambda config, made=made: made(), summary)
