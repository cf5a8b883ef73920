"""The contract of backends: numbers that depend on the tokens alone, and on all of them.

class TestMyBackend(BackendContract):
    tolerance = 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        backend = MyBackend(...)
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls):
        return [MyBackend(... another model, another option ...)]
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from qaqfilter.errors import QaqfilterError
from qaqfilter.identity import fingerprint
from qaqfilter.protocols import Backend, EncodesBatches, TellsPlaces
from qaqfilter.testing.rules import rule
from qaqfilter.types import Floats, TokenSequence

HOOK = "qaqfilter_backends"

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
    def other_backends(cls) -> Iterable[Backend] | None:
        """Backends that give other numbers: another model, another value of each option that moves
        one. Override this; ``()`` where no numbers but those of `backend` can be had.
        """
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def contexts(cls) -> tuple[str, str, str]:
        """Two contexts, and a text whose last token the model likes better after one of them.
        Override this where the model was made for the test, of other texts.
        """
        return "7 7 7 7", "a b c d", " 7"

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

    @rule(HOOK)
    def test_one_array_a_span_as_long_as_the_span(
        self, sequences: list[TokenSequence], alone: list[tuple[Floats, ...]]
    ) -> None:
        """`logprobs` gives one tuple for each sequence, in it one float64 array for each span."""
        for sequence, arrays in zip(sequences, alone, strict=True):
            sizes, spans = [len(a) for a in arrays], [b - a for a, b in sequence.spans]
            assert sizes == spans, f"arrays of {sizes} for spans of {spans} tokens"
            kinds = {str(a.dtype) for a in arrays}
            assert kinds == {"float64"}, f"arrays of {kinds}"

    @rule(HOOK)
    def test_log_probabilities_are_finite_and_not_positive(
        self, alone: list[tuple[Floats, ...]]
    ) -> None:
        """Log-probabilities are finite and not positive: a probability lies in (0, 1]."""
        for array in (a for arrays in alone for a in arrays):
            assert np.isfinite(array).all(), f"{array[~np.isfinite(array)]}"
            assert (array <= 0).all(), f"{array[array > 0]}"

    @rule(HOOK)
    def test_spans_that_overlap_agree(
        self, sequences: list[TokenSequence], alone: list[tuple[Floats, ...]]
    ) -> None:
        """A token's log-probability does not depend on the span that asks for it."""
        for sequence, (whole, last, half) in zip(sequences, alone, strict=True):
            assert [*last] == [*whole[-1:]], f"{last} alone, {whole[-1:]} in the whole span"
            start = sequence.spans[2][0] - 1
            np.testing.assert_array_equal(half, whole[start:])

    @pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 2, 0, 4)])
    @rule(HOOK)
    def test_neighbours_and_order_change_nothing(
        self,
        backend: Backend,
        sequences: list[TokenSequence],
        alone: list[tuple[Floats, ...]],
        order: tuple[int, ...],
    ) -> None:
        """There is one answer a sequence, in the order asked; neighbours move no number beyond the
        tolerance.
        """
        answers = backend.logprobs([sequences[i] for i in order])
        assert len(answers) == len(order), f"{len(answers)} answers to {len(order)} sequences"
        for index, arrays in zip(order, answers, strict=True):
            for got, expected in zip(arrays, alone[index], strict=True):
                assert len(got) == len(expected), "another number of tokens than alone"
                off = float(np.abs(got - expected).max())
                assert off <= self.tolerance, f"sequence {index} is off by {off:g} nats a token"

    @rule(HOOK)
    def test_the_context_is_used(self, backend: Backend, contexts: tuple[str, str, str]) -> None:
        """A token's log-probability depends on what stands before it. A model that has seen none
        of the texts tried here gets others by the fixture `contexts`.
        """
        *befores, text = contexts
        last = backend.encode(text, markup=False)[-1]
        found = []
        for before in befores:
            ids = (backend.start_token, *backend.encode(before, markup=False), last)
            answers = backend.logprobs([TokenSequence(ids, ((len(ids) - 1, len(ids)),))])
            found.append(answers[0][0].tolist())
        assert found[0] != found[1], f"{found[0]} for {text!r} after each of {befores}"

    @rule(HOOK)
    def test_too_long_raises(self, backend: Backend) -> None:
        """A sequence over `max_length` raises BackendError: none is silently cut."""
        ids = (backend.start_token,) * (backend.max_length + 1)
        with pytest.raises(QaqfilterError):
            backend.logprobs([TokenSequence(ids, ((1, len(ids)),))])

    @rule(HOOK)
    def test_no_sequences_no_answers(self, backend: Backend) -> None:
        """No sequences, no answers: an empty call is legal."""
        found = list(backend.logprobs([]))
        assert found == [], f"{found!r}"

    @rule(HOOK)
    def test_encoding_is_a_function_of_the_text(self, backend: Backend) -> None:
        """`encode` is a function of the text: no start token, no memory of earlier calls, nothing
        for empty text.
        """
        empty = backend.encode("", markup=False)
        assert empty == [], f"{empty} for empty text"
        once, again = (backend.encode(TEXTS[1], markup=False) for _ in range(2))
        assert once == again, f"{once}, then {again}"
        assert backend.start_token not in once, "the start token is there already"

    @rule(HOOK)
    def test_places_are_those_of_the_tokens(self, backend: Backend) -> None:
        """Where a backend tells places: one a token, in order, and all of the text is there."""
        if not isinstance(backend, TellsPlaces):
            return
        for text in TEXTS:
            places = list(backend.places(text))
            tokens = len(backend.encode(text, markup=False))
            assert len(places) == tokens, f"{len(places)} places of {tokens} tokens"
            assert places == sorted(places), f"not in order: {places}"
            covered = {at for start, end in places for at in range(start, end)}
            left = {*range(len(text))} - covered
            assert not left, f"no token writes the characters {sorted(left)} of {text!r}"

    @rule(HOOK)
    def test_facts_make_a_fingerprint(
        self, backend: Backend, sequences: list[TokenSequence]
    ) -> None:
        """`facts` are plain data, there are some, and scoring does not change them."""
        assert backend.facts, "there are none"
        before = fingerprint(backend.facts)
        backend.logprobs(sequences[:1])
        assert fingerprint(backend.facts) == before, "scoring changed them"

    @rule(HOOK)
    def test_other_numbers_have_other_facts(
        self,
        backend: Backend,
        alone: list[tuple[Floats, ...]],
        other_backends: Iterable[Backend] | None,
    ) -> None:
        """Models that give other numbers have other `facts`: scores are stored by them, so a fact
        that is missing brings the numbers of another model.
        """
        assert other_backends is not None, (
            "no other model to compare with: override the fixture `other_backends` with models of "
            "another file, and of other options; or with () where nothing can differ"
        )
        for n, other in enumerate(other_backends):
            name = f"other_backends[{n}]"
            theirs = scored_alone(other, sequences_of(other))
            assert not _agree(alone, theirs, self.tolerance), (
                f"{name} gives the numbers of `backend`, so that it shows nothing: give it "
                "another model, or an option that moves a number"
            )
            assert fingerprint(other.facts) != fingerprint(backend.facts), (
                f"{name} gives other numbers by the same facts, {dict(other.facts)}"
            )

    @rule(HOOK)
    def test_a_batch_of_texts_is_encoded_as_each_alone(self, backend: Backend) -> None:
        """Where there is `encode_batch`, it gives what `encode` gives for each text."""
        if isinstance(backend, EncodesBatches):
            for markup in (False, True):
                together = backend.encode_batch(TEXTS, markup=markup)
                alone = [backend.encode(text, markup=markup) for text in TEXTS]
                assert list(together) == alone, f"markup={markup}: {together}, alone {alone}"


def _agree(
    some: Iterable[tuple[Floats, ...]], others: Iterable[tuple[Floats, ...]], tolerance: float
) -> bool:
    """Whether no text has another number of tokens, or a token that is off beyond the tolerance."""
    pairs = zip(itertools.chain(*some), itertools.chain(*others), strict=True)
    return all(len(a) == len(b) and (np.abs(a - b) <= tolerance).all() for a, b in pairs)
