"""Docstrings and the functions that they stand in, as records."""

from __future__ import annotations

import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import Field, model_validator

from qaqfilter import Options, Origin, Record, RunSeed, SourceError
from qaqfilter_docstrings.damage import Damage, damaged
from qaqfilter_docstrings.functions import functions
from qaqfilter_docstrings.packages import modules


class DocstringsOptions(Options):
    """Real records on any machine: each is a function, asked for by its own docstring."""

    package: str = Field(
        "stdlib",
        pattern=r"^[A-Za-z_]\w*$",
        description="`stdlib`, or an installed package (its top-level name); it is not imported.",
    )
    limit: int | None = Field(
        None, ge=1, description="Take a sample of so many; all of them if left out."
    )
    min_query: int = Field(20, ge=0, description="Fewest characters of a docstring.")
    max_query: int = Field(2000, ge=1, description="Most characters of a docstring.")
    min_answer: int = Field(40, ge=0, description="Fewest characters of a function.")
    max_answer: int = Field(4000, ge=1, description="Most characters of a function.")
    damage: Damage = Field(
        default=Damage(),
        description="Plant known defects: how many answers to be swapped, echoed, cut.",
    )
    seed: RunSeed = Field(0, description="Draws the sample and the damage.")

    @model_validator(mode="after")
    def _enough(self) -> DocstringsOptions:
        if self.limit is not None and self.damage.total > self.limit:
            raise ValueError(f"cannot damage {self.damage.total} of {self.limit} records")
        return self


@dataclass(frozen=True, slots=True)
class _Pair:
    id: str
    query: str
    answer: str
    module: str
    line: int
    damage: str | None = None


class Docstrings:
    """The source. No two records have the same docstring, and no two the same function."""

    def __init__(self, config: DocstringsOptions) -> None:
        self._config = config

    def read(self) -> Iterator[Record]:
        """The records, by module and line. The first read parses everything: seconds.

        Raises SourceError where there is no such package, or it has too few functions.
        """
        ordinals: Counter[str] = Counter()
        for pair in self._picked:
            fields: dict[str, Any] = {
                "id": pair.id,
                "query": pair.query,
                "answer": pair.answer,
                "module": pair.module,
                "lineno": pair.line,
                "damage": pair.damage,
            }
            origin = Origin(pair.module, ordinals[pair.module], pair.line)
            ordinals[pair.module] += 1
            row = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
            yield Record(pair.id, pair.query, pair.answer, row, origin, None, fields)

    @cached_property
    def _picked(self) -> list[_Pair]:
        config = self._config
        pairs = list(_candidates(config))
        if config.limit is not None and config.limit < len(pairs):
            pairs = [pairs[n] for n in sorted(self._drawn(pairs, "sample")[: config.limit])]
        if not pairs or config.damage.total > len(pairs):
            raise SourceError(
                f"docstrings: {config.package} has {len(pairs)} functions of these sizes, too few"
            )
        order = self._drawn(pairs, "damage")
        queries, answers = [p.query for p in pairs], [p.answer for p in pairs]
        for n, (what, answer) in damaged(config.damage, order, queries, answers).items():
            pairs[n] = replace(pairs[n], answer=answer, damage=what)
        return pairs

    def _drawn(self, pairs: list[_Pair], purpose: str) -> list[int]:
        """Positions in an order drawn by the seed; the same on every Python and platform."""
        keys = [f"{self._config.seed}:{purpose}:{pair.id}".encode() for pair in pairs]
        return sorted(range(len(pairs)), key=lambda n: blake2b(keys[n]).digest())


def _candidates(config: DocstringsOptions) -> Iterator[_Pair]:
    """Every function of the right size, the first of those with the same text."""
    ids: set[str] = set()
    queries: set[str] = set()
    answers: set[str] = set()
    for module, path in modules(config.package):
        try:
            with tokenize.open(path) as file:  # in the encoding that the file declares
                found = list(functions(file.read()))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # not the user's data: some files are made not to parse
        for function in sorted(found, key=lambda function: function.line):
            query, answer = function.docstring, function.source
            if not (
                config.min_query <= len(query) <= config.max_query
                and config.min_answer <= len(answer) <= config.max_answer
                and _is_text(query)
            ):
                continue
            if query in queries or answer in answers:
                continue
            queries.add(query)
            answers.add(answer)
            label = f"{module}:{function.qualname}"
            label = f"{label}:{function.line}" if label in ids else label
            ids.add(label)
            yield _Pair(label, query, answer, module, function.line)


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8; a lone surrogate, by an escape, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
