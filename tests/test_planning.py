"""Planning: as few tokens as possible reach the backend, and every answer finds its request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qaqfilter import BackendError, Origin, Record, Request, Segment, TokenSequence, Window
from qaqfilter.batching import token_budget_batches
from qaqfilter.planning import Encoded, Encoder, check_results, plan
from qaqfilter.scoring import Scorer
from qaqfilter.types import LIKELIHOODS, Status

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
        self.calls.append(max(len(s.ids) for s in sequences) * len(sequences))
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


def by_hand(context: str, target: str) -> float:
    """The sum over the target, from the definition and without the planner."""
    ids = [START, *context.encode(), *target.encode()]
    first = 1 + len(context.encode())
    return sum(-PositionBackend.cost(ids[: p + 1]) for p in range(first, len(ids)))


def test_four_plain_likelihoods_cost_two_sequences():
    backend = PositionBackend()
    scores = Scorer("m", backend, Plain(), LIKELIHOODS)(window(record("query", "the answer")))
    both = 1 + len("query") + 1 + len("the answer")
    assert [len(s.ids) for s in backend.seen] == [both, both]
    assert sum(len(s.ids) for s in backend.seen) == scores.tokens == 2 * both
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
    scores = Scorer("m", backend, Plain(), LIKELIHOODS)(window(*records))
    assert len(backend.seen) == 2
    assert len(set(scores.columns["answer"].logprob)) == 1


def test_batches_stay_under_the_budget():
    backend = PositionBackend()
    records = [record("q" * (1 + i % 7), "a" * (1 + i), i) for i in range(40)]
    Scorer("m", backend, Plain(), LIKELIHOODS)(window(*records))
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
    columns = Scorer("m", backend, Plain(), LIKELIHOODS)(window(*records)).columns
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
    scores = Scorer("m", backend, Plain(), LIKELIHOODS, too_long="cut_answer")(
        window(record(query, answer, 0), record("q", "a", 1))
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
    one = Scorer("m", PositionBackend(), Plain(), ("answer",), too_long="cut_answer")
    four = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS, too_long="cut_answer")
    records = window(record("the query", "an answer " * 6))
    assert one(records).columns["answer"].logprob[0] == four(records).columns["answer"].logprob[0]


def test_an_echo_loses_the_answer_s_tokens_and_not_the_query_s():
    text = "the very same text " * 2
    scores = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS, too_long="cut_answer")(
        window(record(text, text))
    )
    assert scores.columns["query"].tokens[0] == len(text)
    assert scores.columns["query_given_answer"].tokens[0] == len(text)
    assert scores.columns["answer_given_query"].tokens[0] == len(text) - scores.cut[0]


def test_a_query_is_never_cut():
    columns = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS, too_long="cut_answer")(
        window(record("q" * 70, "answer"))
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
    scorer = Scorer("m", Wrong(change), Plain(), LIKELIHOODS)
    with pytest.raises(BackendError, match=message):
        scorer(window(record("query", "answer")))


def test_a_nan_is_a_null_and_not_a_number():
    def poison(results):
        for arrays in results:
            arrays[0][-1] = np.nan
        return results

    columns = Scorer("m", Wrong(poison), Plain(), ("query",))(window(record("q", "a"))).columns
    assert columns["query"].status[0] == Status.NOT_FINITE
    assert np.isnan(columns["query"].nll[0])


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
    encoded = Encoder(PositionBackend(adds_start))(request_)
    assert list(encoded.ids) == expected
    assert encoded.start == len(expected) - 1


def test_there_is_no_second_start_token():
    class Chatty(PositionBackend):
        def encode(self, text, *, markup):
            return [START, 1] if markup else list(text.encode())

    encoded = Encoder(Chatty())(Request((Segment("<s>x", True),), Segment("b")))
    assert list(encoded.ids) == [START, 1, 98]


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
    check_results(planned.sequences, results, "test")
    flat = [request for row in records for request in row]
    answers = planned.answers(results)
    assert len(answers) == len(flat)
    for request, answer in zip(flat, answers, strict=True):
        expected = sum(
            -PositionBackend.cost(request.ids[: p + 1])
            for p in range(request.start, len(request.ids))
        )
        assert answer.logprob == pytest.approx(expected)
        assert answer.tokens == len(request.ids) - request.start


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
