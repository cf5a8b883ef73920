"""Planning: as few tokens as possible reach the backend, and every answer finds its request."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qaqfilter import (
    BackendError,
    ChatTemplate,
    Origin,
    Record,
    Request,
    Segment,
    SourceError,
    TokenSequence,
    Turn,
    Window,
)
from qaqfilter.batching import OVERHEAD, plan_batches, token_budget_batches
from qaqfilter.encoding import MIN_PREFIX, Encoded, Encoder
from qaqfilter.planning import check_results, plan
from qaqfilter.scoring import Scorer
from qaqfilter.types import LIKELIHOODS, Status
from qaqfilter_docstrings.source import Docstrings, DocstringsOptions
from qaqfilter_prompts.chat import Chat, ChatOptions
from qaqfilter_prompts.plain import Plain as PlainFormat
from qaqfilter_prompts.plain import PlainOptions

START = 256


class PositionBackend:
    """Log-probability of a token: minus a hash of its whole prefix. Counts what it is given."""

    max_length = 60
    batch_tokens = 100
    start_token = START
    chat_template = None

    def __init__(self, adds_start: bool = True) -> None:
        self.adds_start = adds_start
        self.facts = {"model": "position"}
        self.seen: list[TokenSequence] = []
        self.calls: list[int] = []

    def encode(self, text, *, markup):
        return list(text.encode())

    def logprobs(self, sequences):
        self.seen += sequences
        self.calls.append(sum(len(s.ids) for s in sequences))
        return [
            tuple(np.array([-self.cost(s.ids[: p + 1]) for p in range(a, b)]) for a, b in s.spans)
            for s in sequences
        ]

    @staticmethod
    def cost(prefix) -> float:
        value = 0
        for token in prefix:
            value = (value * 31 + token) % 1009
        return value / 100

    def close(self):
        pass


class Plain:
    """The plain format, written out."""

    def request(self, likelihood, record):
        q, a, sep = Segment(record.query), Segment(record.answer), Segment("\n", markup=True)
        return {
            "query": Request((), q),
            "answer": Request((), a),
            "answer_given_query": Request((q, sep), a),
            "query_given_answer": Request((a, sep), q),
        }[likelihood]


def record(query: str, answer: str, number: int = 0) -> Record:
    return Record(f"r{number}", query, answer, b"", Origin("test", number))


def window(*records: Record) -> Window:
    return Window(0, np.arange(len(records)), records)


def scored(backend, likelihoods, *records: Record, **options):
    """One window's scores, with the plain prompt."""
    scorer = Scorer("m", backend, Plain(), likelihoods, **options)
    (scores,) = scorer([window(*records)])
    return scores


def by_hand(context: str, target: str) -> float:
    """The sum over the target, from the definition and without the planner."""
    ids = [START, *context.encode(), *target.encode()]
    first = 1 + len(context.encode())
    return sum(-PositionBackend.cost(ids[: p + 1]) for p in range(first, len(ids)))


def test_four_plain_likelihoods_cost_two_sequences():
    backend = PositionBackend()
    scores = scored(backend, LIKELIHOODS, record("query", "the answer"))
    both = 1 + len("query") + 1 + len("the answer")
    assert [len(s.ids) for s in backend.seen] == [both, both]
    assert sum(len(s.ids) for s in backend.seen) == scores.cost.planned == 2 * both
    assert scores.cost.asked == 2 * both + 1 + len("query") + 1 + len("the answer")
    sums = {name: column.logprob[0] for name, column in scores.columns.items()}
    assert sums["query"] == pytest.approx(by_hand("", "query"), rel=1e-12)
    assert sums["answer"] == pytest.approx(by_hand("", "the answer"), rel=1e-12)
    assert sums["answer_given_query"] == pytest.approx(by_hand("query\n", "the answer"), rel=1e-12)
    assert sums["query_given_answer"] == pytest.approx(by_hand("the answer\n", "query"), rel=1e-12)
    assert scores.columns["query"].tokens[0] == len("query")
    assert scores.columns["query"].nll[0] == pytest.approx(-sums["query"] / 5, rel=1e-12)


def test_equal_records_are_computed_once():
    backend = PositionBackend()
    records = [record("q", "an answer", i) for i in range(5)]
    scores = scored(backend, LIKELIHOODS, *records)
    assert len(backend.seen) == 2
    assert len(set(scores.columns["answer"].logprob)) == 1


def test_batches_stay_under_the_budget():
    backend = PositionBackend()
    records = [record("q" * (1 + i % 7), "a" * (1 + i), i) for i in range(40)]
    scored(backend, LIKELIHOODS, *records)
    assert max(backend.calls) <= backend.batch_tokens
    assert len(backend.calls) < len(backend.seen)


def test_what_cannot_be_scored_has_a_reason_and_costs_nothing():
    backend = PositionBackend()
    records = [
        record("", "a", 0),
        record("q", "", 1),
        record("q" * 100, "a", 2),
        record("q", "a", 3),
    ]
    columns = scored(backend, LIKELIHOODS, *records).columns
    status = {name: [Status(s).name for s in c.status] for name, c in columns.items()}
    assert status["query"] == ["EMPTY_QUERY", "OK", "TOO_LONG", "OK"]
    assert status["answer"] == ["OK", "EMPTY_ANSWER", "OK", "OK"]
    for name in ("answer_given_query", "query_given_answer"):
        assert status[name] == ["EMPTY_QUERY", "EMPTY_ANSWER", "TOO_LONG", "OK"]
    assert np.isnan(columns["query"].logprob[0])
    assert np.isnan(columns["query"].nll[0])
    assert max(len(s.ids) for s in backend.seen) <= backend.max_length


def test_an_answer_is_cut_alike_in_all_likelihoods():
    """The query keeps its tokens, the answer loses the same ones, and it is said how many."""
    backend = PositionBackend()
    query, answer = "the query", "an answer " * 6
    scores = scored(
        backend, LIKELIHOODS, record(query, answer, 0), record("q", "a", 1), too_long="cut_answer"
    )
    whole = 1 + len(query) + 1 + len(answer)
    excess = whole - backend.max_length
    assert list(scores.cut) == [excess, 0]
    left = answer[: len(answer) - excess]
    expected = {
        "query": by_hand("", query),
        "answer": by_hand("", left),
        "answer_given_query": by_hand(query + "\n", left),
        "query_given_answer": by_hand(left + "\n", query),
    }
    for name, value in expected.items():
        assert scores.columns[name].logprob[0] == pytest.approx(value, rel=1e-12)
    assert [scores.columns[name].tokens[0] for name in expected] == [
        len(query), len(left), len(left), len(query),
    ]  # fmt: skip
    assert max(len(s.ids) for s in backend.seen) == backend.max_length


def test_a_cut_does_not_depend_on_what_is_asked():
    long = record("the query", "an answer " * 6)
    one, four = (
        scored(PositionBackend(), names, long, too_long="cut_answer").columns["answer"]
        for names in (("answer",), LIKELIHOODS)
    )
    assert one.logprob[0] == four.logprob[0]


def test_an_echo_loses_the_answer_s_tokens_and_not_the_query_s():
    text = "the very same text " * 2
    scores = scored(PositionBackend(), LIKELIHOODS, record(text, text), too_long="cut_answer")
    assert scores.columns["query"].tokens[0] == len(text)
    assert scores.columns["query_given_answer"].tokens[0] == len(text)
    assert scores.columns["answer_given_query"].tokens[0] == len(text) - scores.cut[0]


@pytest.mark.parametrize("said", [["an answer " * 3], ["the query", "the query"]])
def test_earlier_turns_are_never_cut_though_they_say_the_same(said):
    """A conversation in which the answer, or the query, was said before."""
    backend = PositionBackend()
    answer = "an answer " * 3
    long = replace(record("the query", answer), history=tuple(Turn("user", s) for s in said))
    prompt = PlainFormat(PlainOptions(), backend, None)
    (scores,) = Scorer("m", backend, prompt, LIKELIHOODS, too_long="cut_answer")([window(long)])
    before = "".join(f"{text}\n" for text in said)
    excess = 1 + len(before) + len("the query") + 1 + len(answer) - backend.max_length
    assert 0 < excess < len(answer)
    assert list(scores.cut) == [excess]
    left = answer[: len(answer) - excess]
    expected = {
        "query": by_hand(before, "the query"),
        "answer": by_hand(before, left),
        "answer_given_query": by_hand(f"{before}the query\n", left),
        "query_given_answer": by_hand(f"{before}{left}\n", "the query"),
    }
    for name, value in expected.items():
        assert scores.columns[name].logprob[0] == pytest.approx(value, rel=1e-12)


def test_a_query_is_never_cut():
    columns = scored(
        PositionBackend(), LIKELIHOODS, record("q" * 70, "answer"), too_long="cut_answer"
    ).columns
    assert columns["query"].status[0] == Status.TOO_LONG
    assert columns["query_given_answer"].status[0] == Status.TOO_LONG


class Wrong(PositionBackend):
    """Answers as it is told to."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def logprobs(self, sequences):
        return self.change(super().logprobs(sequences))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[:-1], "gave 1 answers for 2 sequences"),
        (lambda r: [tuple(a[:-1] for a in arrays) for arrays in r], "gave spans of"),
        (lambda r: [tuple(a * -1 for a in arrays) for arrays in r], "above 0"),
    ],
)
def test_a_backend_that_breaks_its_contract_is_found_out(change, message):
    with pytest.raises(BackendError, match=message):
        scored(Wrong(change), LIKELIHOODS, record("query", "answer"))


def test_a_nan_is_a_null_and_not_a_number():
    def poison(results):
        for arrays in results:
            arrays[0][-1] = np.nan
        return results

    columns = scored(Wrong(poison), ("query",), record("q", "a")).columns
    assert columns["query"].status[0] == Status.NOT_FINITE
    assert np.isnan(columns["query"].nll[0])


def encode(backend, request_) -> Encoded:
    encoder = Encoder(backend)
    encoder.learn([request_])
    return encoder(request_)


@pytest.mark.parametrize(
    ("request_", "adds_start", "expected"),
    [
        (Request((), Segment("b")), False, [START, 98]),
        (Request((Segment("a"),), Segment("b")), False, [START, 97, 98]),
        (Request((Segment("a", True),), Segment("b")), False, [97, 98]),
        (Request((Segment("a", True),), Segment("b")), True, [START, 97, 98]),
        (Request((Segment("", True),), Segment("b")), False, [START, 98]),
    ],
)
def test_the_start_token_stands_where_it_must(request_, adds_start, expected):
    encoded = encode(PositionBackend(adds_start), request_)
    assert list(encoded.ids) == expected
    assert encoded.start == len(expected) - 1


def test_there_is_no_second_start_token():
    class Chatty(PositionBackend):
        def encode(self, text, *, markup):
            return [START, 1] if markup else list(text.encode())

    encoded = encode(Chatty(), Request((Segment("<s>x", True),), Segment("b")))
    assert list(encoded.ids) == [START, 1, 98]


class Batching(PositionBackend):
    """Encodes in batches, and keeps what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[tuple[tuple[str, ...], bool]] = []

    def encode_batch(self, texts, *, markup):
        self.encoded.append((tuple(texts), markup))
        return [list(text.encode()) for text in texts]


def test_every_text_is_tokenised_once_and_in_batches():
    backend = Batching()
    records = [record("q", "one", 0), record("q", "two", 1), record("r", "q", 2)]
    scorer = Scorer("m", backend, Plain(), LIKELIHOODS)
    first, second = scorer([window(*records), window(record("r", "three"))])
    assert backend.encoded[:2] == [(("q", "one", "two", "r"), False), (("\n",), True)]
    asked = [text for texts, markup in backend.encoded if not markup for text in texts]
    assert asked == ["q", "one", "two", "r", "three"]  # "r" is known from the window before
    plain = scored(PositionBackend(), LIKELIHOODS, *records)
    for name in LIKELIHOODS:
        np.testing.assert_array_equal(first.columns[name].logprob, plain.columns[name].logprob)
    assert second.columns["answer"].tokens[0] == len("three")


def test_the_prefix_is_the_template_text_before_any_data():
    backend = PositionBackend()
    before, data, after = Segment("The text: ", True), Segment("data"), Segment(" so: ", True)
    given = encode(backend, Request((before, data, after), Segment("t")))
    assert given.ids[: given.prefix] == (START, *b"The text: ")
    bare = encode(backend, Request((before,), Segment("t")))
    assert bare.prefix == bare.start == len(bare.ids) - 1
    short = encode(backend, Request((Segment("ab", True), data), Segment("t")))
    assert short.prefix == 0 < MIN_PREFIX  # not worth a batch of its own


def test_a_batch_holds_one_prefix_and_does_not_count_it():
    def sequence(prefix, length):
        return TokenSequence((*prefix, *range(100, 100 + length)), ((len(prefix), 99),), 10)

    one, two = (1,) * 10, (2,) * 10
    lengths = [(one, 8), (two, 6), (one, 7), (two, 6), (one, 8)]
    batches = plan_batches([sequence(*x) for x in lengths], 16)
    assert [sorted(batch) for batch in batches] == [[0, 4], [2], [1, 3]]


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 120))
def test_a_call_gets_no_more_than_the_budget(lengths, budget):
    batches = plan_batches([TokenSequence((7,) * n, ()) for n in lengths], budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    sizes = [sum(lengths[i] for i in batch) for batch in batches]
    alone = [len(batch) == 1 for batch in batches]
    assert all(size <= budget or one for size, one in zip(sizes, alone, strict=True))
    for first, second in itertools.pairwise(batches):
        assert min(lengths[i] for i in first) >= max(lengths[i] for i in second)
    if max(lengths, default=0) * 4 < budget:  # none that does not fit beside others
        assert len(batches) <= 1 + 2 * sum(lengths) // budget


def test_the_next_window_is_prepared_while_one_is_scored():
    """The second window is read before the first one's scores are given out."""
    backend = PositionBackend()
    read = []
    second_read = threading.Event()

    def windows():
        for number in range(3):
            read.append(number)
            if number == 1:
                second_read.set()
            yield window(record("q", f"answer {number}"))

    logprobs = backend.logprobs

    def waiting(sequences):
        assert second_read.wait(timeout=30)
        return logprobs(sequences)

    backend.logprobs = waiting
    scores = Scorer("m", backend, Plain(), LIKELIHOODS)(windows())
    next(scores)
    assert read[:2] == [0, 1]
    assert len(list(scores)) == 2


def test_an_error_while_reading_ahead_comes_out_in_its_place():
    def windows():
        yield window(record("q", "a"))
        raise SourceError("the file is gone")

    scores = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS)(windows())
    assert next(scores).columns["answer"].tokens[0] == 1
    with pytest.raises(SourceError, match="the file is gone"):
        next(scores)


def test_progress_says_each_record_when_all_its_numbers_are_there():
    said = []
    backend = PositionBackend()
    records = [record("q" * (1 + i), "a" * 20, i) for i in range(9)] + [record("", "", 9)]
    scores = scored(
        backend, LIKELIHOODS, *records, progress=lambda done, tokens: said.append((done, tokens))
    )
    assert said[0] == (1, 0)  # nothing to do for the last
    assert sum(done for done, _ in said) == len(records)
    assert sum(tokens for _, tokens in said) == scores.cost.planned
    assert len(said) == 1 + len(backend.calls)


ids = st.lists(st.integers(0, 2), min_size=2, max_size=7)
requests = ids.flatmap(
    lambda i: st.integers(1, len(i) - 1).map(lambda start: Encoded((9, *i), start))
)


@given(st.lists(st.lists(requests, max_size=4), max_size=5))
def test_every_request_is_answered_by_its_own_tokens(records):
    """Whatever is merged: each answer is the sum over exactly the request's target."""
    planned = plan(records)
    results = [
        tuple(
            np.array([-PositionBackend.cost(s.ids[: p + 1]) for p in range(a, b)])
            for a, b in s.spans
        )
        for s in planned.sequences
    ]
    check_results(planned.sequences, results)
    flat = [request for row in records for request in row]
    answers = planned.answers(dict(enumerate(results)), range(len(planned.routes)))
    assert len(answers.logprob) == len(flat)
    for index, request in enumerate(flat):
        expected = sum(
            -PositionBackend.cost(request.ids[: p + 1])
            for p in range(request.start, len(request.ids))
        )
        assert answers.logprob[index] == pytest.approx(expected)
        assert answers.tokens[index] == len(request.ids) - request.start


@given(st.lists(st.lists(requests, max_size=4), max_size=5))
def test_no_sequence_of_a_record_is_a_prefix_of_another(records):
    for row in records:
        sequences = [s.ids for s in plan([row]).sequences]
        for i, short in enumerate(sequences):
            for j, long in enumerate(sequences):
                assert i == j or long[: len(short)] != short


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 120))
def test_batches_hold_every_sequence_once_within_the_budget(lengths, budget):
    batches = token_budget_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = max(lengths[i] for i in batch) * len(batch)
        assert padded <= budget or len(batch) == 1


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(40, 120))
def test_no_other_cuts_of_the_sorted_lengths_cost_less(lengths, budget):
    def cost(batches):
        return sum(max(b) * len(b) + budget * OVERHEAD for b in batches)

    sizes = sorted(lengths, reverse=True)
    best = np.inf
    for cuts in itertools.product((False, True), repeat=len(sizes) - 1):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut]
        found = [sizes[a:b] for a, b in itertools.pairwise([0, *ends, len(sizes)])]
        if all(len(b) == 1 or max(b) * len(b) <= budget for b in found):
            best = min(best, cost(found))
    planned = [[lengths[i] for i in b] for b in token_budget_batches(lengths, budget)]
    assert cost(planned) == pytest.approx(best)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Talking(PositionBackend):
    max_length = 4096
    batch_tokens = 4096
    chat_template = ChatTemplate(CHATML, "<s>", "</s>", "here")


def test_four_chat_likelihoods_cost_three_sequences_that_share_what_is_fixed():
    backend = Talking()
    prompt = Chat(ChatOptions(system="You write Python."), backend, None)
    records = [record(f"question {i}", f"answer {i}", i) for i in range(4)]
    (scores,) = Scorer("m", backend, prompt, LIKELIHOODS)([window(*records)])
    assert len(backend.seen) == 3 * len(records)
    beginnings = {bytes(s.ids[1 : s.prefix]).decode() for s in backend.seen}
    system = "<|im_start|>system\nYou write Python.<|im_end|>\n<|im_start|>user\n"
    assert all(text.startswith(system) for text in beginnings)
    assert len(beginnings) == 3
    assert system in beginnings  # the query, and the answer after it
    assert any(text.endswith("<|im_start|>assistant\n") for text in beginnings)  # the bare answer
    for row, name in enumerate(LIKELIHOODS):
        alone = [scored_by_hand(prompt.request(name, r)) for r in records]
        np.testing.assert_allclose(
            scores.columns[name].logprob, alone, rtol=1e-12, err_msg=str(row)
        )


def scored_by_hand(request_) -> float:
    context = "".join(segment.text for segment in request_.context)
    return by_hand(context, request_.target.text)


@pytest.mark.parametrize("records", [60, 500])
def test_real_records_waste_less_than_a_twentieth_on_padding(records):
    """Both orders of standard-library pairs, at a token for every four characters."""
    pairs = Docstrings(DocstringsOptions(limit=records)).read()
    lengths = [(len(pair.query) + len(pair.answer)) // 4 for pair in pairs for _ in range(2)]
    assert len(lengths) == 2 * records
    batches = token_budget_batches(lengths, 2048)
    computed = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert computed <= sum(lengths) / 0.95
    assert len(batches) < len(lengths) / 4
