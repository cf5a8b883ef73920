"""Contracts that plugin authors inherit: override one fixture, get the suite.

class TestMyBackend(BackendContract):
    tolerance = 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        backend = MyBackend(...)
        yield backend
        backend.close()
"""

from __future__ import annotations

import numpy as np
import pytest

from qaqfilter.errors import QaqfilterError
from qaqfilter.identity import fingerprint
from qaqfilter.protocols import Backend
from qaqfilter.types import Floats, TokenSequence

TEXTS = (
    "x",
    "def add(a, b):\n    return a + b\n",
    "Return the sum of two numbers; naïve, ∑, 漢字.",
    "for i in range(10):\n    print(i, i ** 2)\n" * 2,
    "    leading and trailing space   ",
)


def sequences_of(backend: Backend) -> list[TokenSequence]:
    """`TEXTS` as sequences; each with a span over everything, one over the end, one over a half."""
    found = []
    for text in TEXTS:
        ids = (backend.start_token, *backend.encode(text, markup=False))
        end = len(ids)
        found.append(TokenSequence(ids, ((1, end), (end - 1, end), (1 + (end - 1) // 2, end))))
    return found


def scored_alone(backend: Backend, sequences: list[TokenSequence]) -> list[tuple[Floats, ...]]:
    """Every sequence scored in a call of its own."""
    return [tuple(backend.logprobs([sequence])[0]) for sequence in sequences]


class BackendContract:
    """What the engine relies on. `tolerance` is in nats per token, for any one token."""

    tolerance: float = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Backend:
        """The backend under test; override this."""
        raise NotImplementedError("override the fixture `backend`")

    @pytest.fixture(scope="class")
    @classmethod
    def sequences(cls, backend: Backend) -> list[TokenSequence]:
        """A few sequences of different lengths, with spans that touch and nest."""
        return sequences_of(backend)

    @pytest.fixture(scope="class")
    @classmethod
    def alone(cls, backend: Backend, sequences: list[TokenSequence]) -> list[tuple[Floats, ...]]:
        """Every sequence scored in a call of its own."""
        return scored_alone(backend, sequences)

    def test_one_array_a_span_as_long_as_the_span(
        self, sequences: list[TokenSequence], alone: list[tuple[Floats, ...]]
    ) -> None:
        """docs/hooks.md: one tuple a sequence, one float64 array a span."""
        for sequence, arrays in zip(sequences, alone, strict=True):
            assert [len(a) for a in arrays] == [end - start for start, end in sequence.spans]
            assert all(a.dtype == np.float64 for a in arrays)

    def test_log_probabilities_are_finite_and_not_positive(
        self, alone: list[tuple[Floats, ...]]
    ) -> None:
        """A probability lies in (0, 1]."""
        for array in (a for arrays in alone for a in arrays):
            assert np.isfinite(array).all()
            assert (array <= 0).all()

    def test_spans_that_overlap_agree(
        self, sequences: list[TokenSequence], alone: list[tuple[Floats, ...]]
    ) -> None:
        """A token's log-probability does not depend on the span that asks for it."""
        for sequence, (whole, last, half) in zip(sequences, alone, strict=True):
            assert last[-1] == whole[-1]
            start = sequence.spans[2][0] - 1
            np.testing.assert_array_equal(half, whole[start:])

    @pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 2, 0, 4)])
    def test_neighbours_and_order_change_nothing(
        self,
        backend: Backend,
        sequences: list[TokenSequence],
        alone: list[tuple[Floats, ...]],
        order: tuple[int, ...],
    ) -> None:
        """One answer a sequence, in the order asked, within the tolerance."""
        answers = backend.logprobs([sequences[i] for i in order])
        assert len(answers) == len(order)
        for index, arrays in zip(order, answers, strict=True):
            for got, expected in zip(arrays, alone[index], strict=True):
                assert np.abs(got - expected).max() <= self.tolerance

    def test_the_context_is_used(self, backend: Backend) -> None:
        """The last token's log-probability moves when the first token of the text does."""
        last = backend.encode(" 7", markup=False)[-1]
        sums = []
        for first in ("7 7 7 7", "a b c d"):
            ids = (backend.start_token, *backend.encode(first, markup=False), last)
            sums.append(backend.logprobs([TokenSequence(ids, ((len(ids) - 1, len(ids)),))])[0][0])
        assert sums[0] != sums[1]

    def test_too_long_raises(self, backend: Backend) -> None:
        """Never silently truncated."""
        ids = (backend.start_token,) * (backend.max_length + 1)
        with pytest.raises(QaqfilterError):
            backend.logprobs([TokenSequence(ids, ((1, len(ids)),))])

    def test_no_sequences_no_answers(self, backend: Backend) -> None:
        """An empty call is legal."""
        assert list(backend.logprobs([])) == []

    def test_encoding_is_a_function_of_the_text(self, backend: Backend) -> None:
        """No start token, no memory of earlier calls, nothing for empty text."""
        assert backend.encode("", markup=False) == []
        once, again = (backend.encode(TEXTS[1], markup=False) for _ in range(2))
        assert once == again
        assert backend.start_token not in once

    def test_facts_make_a_fingerprint(
        self, backend: Backend, sequences: list[TokenSequence]
    ) -> None:
        """Facts are plain data, there are some, and scoring does not change them."""
        assert backend.facts
        before = fingerprint(backend.facts)
        backend.logprobs(sequences[:1])
        assert fingerprint(backend.facts) == before
