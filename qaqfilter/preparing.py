"""A window of records -> what must be computed of it: requests, tokenised and planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qaqfilter.encoding import Encoded, Encoder
from qaqfilter.errors import PromptRefused
from qaqfilter.execution import Nulls
from qaqfilter.joint import Joint
from qaqfilter.joint_encoding import JointEncoder
from qaqfilter.planning import Plan, plan
from qaqfilter.protocols import Backend, PromptFormat
from qaqfilter.recipe_keys import TooLong
from qaqfilter.types import LIKELIHOODS, Ints, Origin, Record, Request, Status, Window

Requests = Mapping[str, Request]


class _Asked(NamedTuple):
    """What an exchange is asked for, by likelihood; `missing` says why there is nothing to ask."""

    requests: dict[str, Request]
    joints: dict[str, Joint]
    missing: dict[str, Status]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window and its plan.

    `status` is [exchanges, likelihoods], a record's exchanges one after the other; those that are
    OK are the plan's requests, row by row. `owner` is the place of each exchange's record in the
    window, ascending. `cut` holds how many tokens were cut off the end of each exchange's answer,
    or of the joint text that lost most. `refused` are records that the prompt cannot show.
    """

    window: Window
    plan: Plan
    status: NDArray[np.int8]
    owner: Ints
    cut: Ints
    refused: Nulls | None = None


class Preparer:
    """Prepares windows for one backend, one prompt and the likelihoods that are wanted."""

    def __init__(
        self,
        backend: Backend,
        prompt: PromptFormat,
        likelihoods: Sequence[str],
        too_long: TooLong,
    ) -> None:
        self._backend = backend
        self._prompt = prompt
        self._likelihoods = tuple(likelihoods)
        self._cuts = too_long == "cut_answer"
        self._encode = Encoder(backend)
        self._encode_joint = JointEncoder(backend)
        self._refused: dict[Origin, str] = {}

    def __call__(self, window: Window) -> Prepared:
        """Tokenise the window, find what is undefined, and plan the rest."""
        exchanges, owner = _exchanges(window.records)
        self._refused = {}
        rows = [self._asked(exchange) for exchange in exchanges]
        self._encode.learn(request for row in rows for request in row.requests.values())
        cut = np.array([self._excess(row.requests) if self._cuts else 0 for row in rows], np.int64)
        status = np.zeros((len(rows), len(self._likelihoods)), dtype=np.int8)
        # By record, for what is asked of an exchange is the beginning of what is asked of the next.
        asked: list[list[Encoded]] = [[] for _ in window.records]
        for index, row in enumerate(rows):
            encoded: list[Encoded | Status] = []
            for name in self._likelihoods:
                if name in row.missing:
                    encoded.append(row.missing[name])
                elif name in row.joints:
                    found, gone = self._joint(name, row.joints[name])
                    encoded.append(found)
                    cut[index] = max(cut[index], gone)
                else:
                    encoded.append(self._encoded(name, row.requests, int(cut[index])))
            status[index] = [e if isinstance(e, Status) else Status.OK for e in encoded]
            asked[owner[index]] += [e for e in encoded if isinstance(e, Encoded)]
        return Prepared(
            window, plan(asked), status, np.array(owner, dtype=np.int64), cut, self._nulls()
        )

    def _nulls(self) -> Nulls | None:
        """What the prompt refused of this window."""
        if not self._refused:
            return None
        first, why = next(iter(self._refused.items()))
        return Nulls(len(self._refused), first, why)

    def _asked(self, record: Record) -> _Asked:
        """What the prompt asks of an exchange.

        Where answers are cut, all four, whichever are wanted: an answer is cut alike in every step.
        """
        found = _Asked({}, {}, {})
        others = [name for name in LIKELIHOODS if name not in self._likelihoods]
        for name in [*self._likelihoods, *(others if self._cuts else [])]:
            if found.joints and name in others:
                break  # a joint text is cut as its script does it
            if not record.query and name != "answer":
                found.missing[name] = Status.EMPTY_QUERY
            elif not record.answer and name != "query":
                found.missing[name] = Status.EMPTY_ANSWER
            else:
                self._ask(name, record, found)
        return found

    def _ask(self, name: str, record: Record, found: _Asked) -> None:
        try:
            request = self._prompt.request(name, record)
        except PromptRefused as error:
            found.missing[name] = Status.NO_PROMPT
            self._refused.setdefault(record.origin, str(error))
            return
        if isinstance(request, Joint):
            found.joints[name] = request
        else:
            found.requests[name] = request

    def _joint(self, name: str, joint: Joint) -> tuple[Encoded | Status, int]:
        """A joint text's ids or why there are none, and how many tokens were cut off."""
        encoded, cut = self._encode_joint(joint)
        if encoded is None:
            return (Status.TOO_LONG if cut else _empty(name)), cut
        return (encoded if self._fits(encoded) else Status.TOO_LONG), cut

    def _encoded(self, name: str, requests: Requests, cut: int) -> Encoded | Status:
        """A likelihood's ids, or the reason why it does not exist."""
        encoded = self._shortened(name, requests, cut)
        if encoded.start == len(encoded.ids):
            return _empty(name)
        return encoded if self._fits(encoded) else Status.TOO_LONG

    def _fits(self, encoded: Encoded) -> bool:
        return len(encoded.ids) <= self._backend.max_length

    def _shortened(self, name: str, requests: Requests, cut: int) -> Encoded:
        if cut and name == "query_given_answer":
            # In the reverse direction the answer is in the context; the target is never cut,
            # not even where query and answer are the same text.
            return self._encode(requests[name], requests["answer"].target, cut)
        encoded = self._encode(requests[name])
        if not cut or name == "query":
            return encoded
        return Encoded(encoded.ids[:-cut], encoded.start, encoded.prefix)

    def _excess(self, requests: Requests) -> int:
        """How many tokens of the answer must go for all four likelihoods to fit; 0 if none.

        Where nothing of the answer would be left, nothing is cut, and the record is too long.
        """
        if len(requests) < len(LIKELIHOODS):
            return 0
        encoded = {name: self._encode(request) for name, request in requests.items()}
        excess = max(len(e.ids) for e in encoded.values()) - self._backend.max_length
        answer = len(encoded["answer"].ids) - encoded["answer"].start
        return excess if 0 < excess < answer else 0


def _empty(name: str) -> Status:
    """Why a likelihood has no token to score."""
    return Status.EMPTY_QUERY if name.startswith("query") else Status.EMPTY_ANSWER


def _exchanges(records: Sequence[Record]) -> tuple[list[Record], list[int]]:
    """What is scored of some records, and the place of the record that each exchange is of."""
    found: list[Record] = []
    owner: list[int] = []
    for place, record in enumerate(records):
        own = record.exchanges()
        found += own
        owner += [place] * len(own)
    return found, owner
