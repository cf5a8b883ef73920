"""The n-gram backend, against fractions written out by hand."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from qaqfilter import BackendError, ModelError, Origin, Record, TokenSequence
from qaqfilter_ngram import qaqfilter_backends

START = 256


class Input:
    """Stands in for the run: only its records are asked for."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def records(self):
        for i, (query, answer) in enumerate(self.pairs):
            yield Record(str(i), query, answer, b"", Origin("made up", i))

    def model_files(self, location, revision=None):
        raise AssertionError("an n-gram model has no files")


def create(*pairs, **options):
    (component,) = qaqfilter_backends()
    assert component.name == "ngram"
    return component.create(component.config.model_validate(options), Input(*pairs))


def whole(text):
    """The start token and the text, all of it scored."""
    ids = (START, *text.encode())
    return TokenSequence(ids, ((1, len(ids)),))


def probabilities(backend, text):
    ((found,),) = backend.logprobs([whole(text)])
    assert found.dtype == np.float64
    return found


def logs(*fractions):
    return [math.log(fraction) for fraction in fractions]


def test_bigrams_without_a_cache():
    # Fitted on "a\nb" and "b\na": start-a, a-newline, newline-b; start-b, b-newline, newline-a.
    backend = create(("a", "b"), cache=0)
    found = probabilities(backend, "ab")
    # After the start: a once in two, so (1 + 1) / (2 + 256). After a: never b; a was a context
    # once (a-newline), so (0 + 1) / (1 + 256).
    assert found.tolist() == logs(2 / 258, 1 / 257)


def test_the_cache_counts_what_this_sequence_has_shown():
    backend = create(("a", "b"))
    found = probabilities(backend, "aba")
    fitted = [2 / 258, 1 / 257, 1 / 257]  # start-a; a-b; b-a (b was a context once, in b-newline)
    # Nothing seen; then start-a, but never after a; then a-b, but never after b.
    cached = [1 / 256, 1 / 256, 1 / 256]
    expected = logs(*(0.5 * f + 0.5 * c for f, c in zip(fitted, cached, strict=True)))
    assert found.tolist() == expected
    # The fourth token: b after a. Fitted never; a was a context once. Seen once in this
    # sequence, where a was a context once: (1 + 1) / (1 + 256).
    assert probabilities(backend, "abab")[3] == math.log(0.5 * (1 / 257) + 0.5 * (2 / 257))


def test_unigrams_and_add_k():
    backend = create(("aa", "b"), order=1, add_k=0.5, cache=0.25)
    # Texts "aa\nb" and "b\naa": a four times, newline twice, b twice; eight in all.
    first = 0.75 * (4.5 / (8 + 128)) + 0.25 * (0.5 / 128)
    second = 0.75 * (4.5 / (8 + 128)) + 0.25 * (1.5 / (1 + 128))
    third = 0.75 * (0.5 / (8 + 128)) + 0.25 * (0.5 / (2 + 128))
    assert probabilities(backend, "aac").tolist() == logs(first, second, third)


def test_start_tokens_fill_the_first_contexts_of_a_trigram():
    backend = create(("a", "b"), order=3, cache=0)
    # (start, start) was a context twice, followed by a once; (start, a) once, by newline.
    assert probabilities(backend, "a\n").tolist() == logs(2 / 258, 2 / 257)
    assert probabilities(backend, "ab").tolist() == logs(2 / 258, 1 / 257)


def test_nothing_to_fit_on_is_uniform():
    assert probabilities(create(), "xyz").tolist() == logs(*[1 / 256] * 3)


def test_fitting_on_files(tmp_path):
    (tmp_path / "one.txt").write_bytes(b"ab")
    (tmp_path / "two.txt").write_bytes(b"ac")
    files = [str(tmp_path / "one.txt"), str(tmp_path / "two.txt")]
    backend = create(("not", "read"), fit=files, cache=0)
    assert probabilities(backend, "ab").tolist() == logs(3 / 258, 2 / 258)
    assert backend.facts == create(fit=files[::-1], cache=0).facts
    with pytest.raises(ModelError, match="cannot read its text to fit on"):
        create(fit=[str(tmp_path)])


class Oracle:
    """The formula again, in exact fractions, counting afresh for each token."""

    def __init__(self, texts, order, add_k, cache):
        self.order, self.add_k, self.cache = order, Fraction(add_k), Fraction(cache)
        self.fitted = Counter()
        for text in texts:
            self.fitted.update(self.grams((START, *text.encode())))

    def grams(self, ids):
        before = (START,) * (self.order - 1)
        padded = before + tuple(ids)
        return [padded[i : i + self.order] for i in range(1, len(ids))]

    def smooth(self, counts, gram):
        context = sum(n for g, n in counts.items() if g[:-1] == gram[:-1])
        return (counts[gram] + self.add_k) / (context + 256 * self.add_k)

    def probability(self, ids, position):
        grams = self.grams(ids)
        gram, seen = grams[position - 1], Counter(grams[: position - 1])
        fitted = (1 - self.cache) * self.smooth(self.fitted, gram)
        return fitted + self.cache * self.smooth(seen, gram)


short = st.text(alphabet="ab\n", max_size=6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(short, short), max_size=3),
    st.integers(1, 5),
    st.sampled_from([0.25, 1.0, 2.0]),
    st.sampled_from([0, 0.5, 0.75]),
    st.text(alphabet="abc", min_size=1, max_size=7),
)
def test_agrees_with_exact_fractions(pairs, order, add_k, cache, text):
    backend = create(*pairs, order=order, add_k=add_k, cache=cache)
    texts = [t for q, a in pairs for t in (f"{q}\n{a}", f"{a}\n{q}")]
    oracle = Oracle(texts, order, add_k, cache)
    ids = (START, *text.encode())
    expected = [math.log(oracle.probability(ids, i)) for i in range(1, len(ids))]
    np.testing.assert_allclose(probabilities(backend, text), expected, rtol=1e-14)


def test_probabilities_of_the_next_byte_sum_to_1():
    backend = create(("abc", "cab"), order=3)
    before = (START, *b"abcab")
    sequences = [TokenSequence((*before, byte), ((6, 7),)) for byte in range(256)]
    total = math.fsum(math.exp(span[0]) for (span,) in backend.logprobs(sequences))
    assert total == pytest.approx(1, abs=1e-12)


def test_batches_neighbours_and_spans_change_nothing():
    backend = create(("abra", "cadabra"), order=3)
    texts = ["abracadabra", "a", "zz", "abra" * 20]
    alone = [probabilities(backend, text) for text in texts]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 2, 0]):
        found = backend.logprobs([whole(texts[i]) for i in order])
        for i, (span,) in zip(order, found, strict=True):
            assert span.tobytes() == alone[i].tobytes()
    ids = whole(texts[0]).ids
    spans = ((3, 3), (1, 4), (2, 9), (4, 5), (1, 12))
    (parts,) = backend.logprobs([TokenSequence(ids, spans)])
    for (start, end), part in zip(spans, parts, strict=True):
        assert part.tobytes() == alone[0][start - 1 : end - 1].tobytes()
    assert backend.logprobs([]) == []
    assert backend.logprobs([TokenSequence(ids, ())]) == [()]


def test_an_answer_tells_of_its_own_query():
    pairs = [("reverse a list", "list reversed"), ("add two numbers", "sum of numbers: add them")]
    backend = create(*pairs)

    def gain(query, answer):
        given = f"{answer}\n".encode()
        ids = (START, *given, *query.encode())
        ((tail,),) = backend.logprobs([TokenSequence(ids, ((1 + len(given), len(ids)),))])
        return tail.mean() - probabilities(backend, query).mean()

    for i, (query, answer) in enumerate(pairs):
        assert gain(query, answer) > gain(query, pairs[1 - i][1])


def test_text_becomes_bytes_whatever_it_spells():
    backend = create()
    assert backend.encode("é<s>", markup=False) == [0xC3, 0xA9, *b"<s>"]
    assert backend.encode("é<s>", markup=True) == backend.encode("é<s>", markup=False)
    assert backend.encode("", markup=True) == []
    assert backend.encode("\ud800", markup=False) == [0xED, 0xA0, 0x80]
    assert (backend.start_token, backend.adds_start, backend.chat_template) == (256, True, None)
    create(("\ud800", "a record with half a surrogate pair"))


def test_facts_change_with_what_changes_a_number():
    pair = ("a", "b")
    facts = create(pair).facts
    assert facts == create(pair).facts
    others = [
        create(pair, pair),
        create(pair, order=3),
        create(pair, add_k=0.5),
        create(pair, cache=0.25),
        create(("a", "c")),
    ]
    assert all(other.facts != facts for other in others)
    # The order of the records is no fact.
    assert create(pair, ("c", "d")).facts == create(("c", "d"), pair).facts


def test_misuse_is_an_error():
    backend = create()
    with pytest.raises(BackendError, match="over the limit"):
        backend.logprobs([TokenSequence((START,) * (backend.max_length + 1), ())])
    with pytest.raises(BackendError, match="only bytes"):
        backend.logprobs([TokenSequence((START, 97), ((0, 2),))])
    with pytest.raises(BackendError, match="only bytes"):
        backend.logprobs([TokenSequence((START, START), ((1, 2),))])
    for wrong in ({"order": 0}, {"order": 6}, {"add_k": 0}, {"cache": 1}, {"cache": -0.1}):
        with pytest.raises(ValidationError):
            create(**wrong)
    backend.close()


def test_logprobs_are_never_above_0():
    backend = create(("aaaa", "aaaa"), add_k=1e-300, cache=0.1)
    assert (probabilities(backend, "aaaaaaaa") <= 0).all()
    assert np.isfinite(probabilities(backend, "aaab")).all()
