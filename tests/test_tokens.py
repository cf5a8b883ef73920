"""Likelihoods by the token: asked for, kept in a file and in tokens.parquet, used by `select`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qaqfilter
from outputs import visible
from qaqfilter import NotScored, RecipeError, RunDirectoryError, TokenLogprobs, UsageError
from qaqfilter.cli import run_cli
from qaqfilter.scoring import Scorer
from qaqfilter.token_spool import TokenSpool
from qaqfilter.types import LIKELIHOODS, Status
from test_hand_count import START as START_OF_TEXT
from test_hand_count import likelihood as by_fractions
from test_planning import START, Plain, PositionBackend, record, window
from test_select import no_models
from tiny_models import make_model

S_IFD = "  - {id: moved, use: s_ifd, keep: {fraction: 0.5}}"
PLAIN_IFD = "  - {id: ifd, use: ifd, keep: {fraction: 0.5}}"
BY_TOKEN = ["models.toy.detail=tokens"]
OUTPUTS = ("kept.jsonl", "rejected.jsonl", "scores.parquet", "tokens.parquet", "README.md")

arrays = st.lists(
    st.lists(st.floats(-100, 0, width=32), max_size=6).map(lambda v: np.array(v, dtype=np.float32)),
    max_size=8,
)


# --- the values


@given(arrays, st.randoms())
def test_rows_are_found_in_any_order(rows, random):
    tokens = TokenLogprobs.of(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    taken = tokens.take(np.array(order, dtype=np.int64))
    assert len(taken) == len(rows)
    for row, expected in zip(taken, [rows[n] for n in order], strict=True):
        np.testing.assert_array_equal(row, expected)
    expected = np.concatenate([np.empty(0, np.float32), *(rows[n] for n in order)])
    np.testing.assert_array_equal(taken.joined(), expected)
    assert taken.joined().dtype == np.float32


@given(arrays, st.integers(1, 12))
def test_stretches_are_all_rows_and_small(rows, most):
    tokens = TokenLogprobs.of(rows)
    slices = list(tokens.stretches(most))
    assert [n for s in slices for n in range(s.start, s.stop)] == list(range(len(rows)))
    for one in slices:
        assert tokens.take(one).lengths.sum() <= most or one.stop - one.start == 1


def test_a_spool_grows_while_it_is_read_and_has_no_name(tmp_path):
    spool = TokenSpool(tmp_path)
    assert len(spool.values()) == 0
    one, two = np.array([-1, -2], np.float32), np.array([-3], np.float32)
    assert spool.append(one) == 0
    before = spool.values()
    assert spool.append(two) == 2
    assert before.tolist() == [-1, -2]
    assert spool.values().tolist() == [-1, -2, -3]
    with pytest.raises(ValueError, match="read-only"):
        spool.values()[0] = 0
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_be_written_says_where(tmp_path):
    spool = TokenSpool(tmp_path / "nowhere")
    with pytest.raises(RunDirectoryError, match=r"nowhere: .*make room there"):
        spool.append(np.zeros(3, np.float32))


# --- scored


def token_costs(context: str, target: str) -> list[float]:
    """From the definition of the backend, without the planner."""
    ids = [START, *context.encode(), *target.encode()]
    first = 1 + len(context.encode())
    return [-PositionBackend.cost(ids[: place + 1]) for place in range(first, len(ids))]


def test_every_number_is_that_of_its_token_whatever_rides_along():
    records = [record("q one", "the answer"), record("", "alone"), record("two", "an answer" * 20)]
    backend = PositionBackend()
    (scores,) = Scorer("m", backend, Plain(), LIKELIHOODS, tokens=LIKELIHOODS)([window(*records)])
    expected = {
        "query": token_costs("", "q one"),
        "answer": token_costs("", "the answer"),
        "answer_given_query": token_costs("q one\n", "the answer"),
        "query_given_answer": token_costs("the answer\n", "q one"),
    }
    for name in LIKELIHOODS:
        tokens, column = scores.tokens[name], scores.columns[name]
        np.testing.assert_array_equal(tokens[0], np.array(expected[name], dtype=np.float32))
        assert tokens.lengths.tolist() == column.tokens.tolist()
        assert [len(row) for row in tokens] == np.where(
            column.status == 0, column.tokens, 0
        ).tolist()
    assert scores.columns["query"].status.tolist()[1:] == [Status.EMPTY_QUERY, Status.OK]
    assert scores.columns["answer"].status.tolist() == [0, 0, Status.TOO_LONG]


def test_what_is_not_asked_for_is_not_there():
    scorer = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS, tokens=["answer"])
    (scores,) = scorer([window(record("q", "a"))])
    assert list(scores.tokens) == ["answer"]
    (scores,) = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS)([window(record("q", "a"))])
    assert scores.tokens == {}


def test_sums_are_made_before_the_numbers_are_rounded():
    """The same to the last bit, with tokens and without."""
    records = [record(f"query {n}", "the answer " * n, n) for n in range(4)]
    plain = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS)
    with_tokens = Scorer("m", PositionBackend(), Plain(), LIKELIHOODS, tokens=LIKELIHOODS)
    (one,), (other,) = plain([window(*records)]), with_tokens([window(*records)])
    for name in LIKELIHOODS:
        np.testing.assert_array_equal(one.columns[name].logprob, other.columns[name].logprob)


# --- whole runs


def tokens_of(folder) -> dict[str, list]:
    table = pq.read_table(Path(folder) / "tokens.parquet")
    return {name: table[name].to_pylist() for name in table.column_names}


def test_a_run_against_a_count_by_fractions(write_recipe):
    from test_hand_count import RECORDS

    path = write_recipe(S_IFD, pairs=RECORDS)
    text = path.read_text().replace(
        "{use: ngram}", "{use: ngram, order: 2, add_k: 0.5, cache: 0.25}"
    )
    path.write_text(text)
    report = qaqfilter.run(path)
    found = tokens_of(report.folder)
    assert START_OF_TEXT == START

    def logs(text, before):
        whole = [by_fractions(text[:end], before, 2, 0.5, 0.25) for end in range(len(text) + 1)]
        ratios = [after / before for before, after in pairwise(whole)]
        return [float(np.log(float(ratio))) for ratio in ratios]

    for row, (query, answer) in enumerate(RECORDS):
        for name, before in (("answer", ""), ("answer_given_query", query + "\n")):
            expected = logs(answer, before)
            np.testing.assert_allclose(found[f"toy.{name}.logprobs"][row], expected, rtol=3e-7)


def test_a_run_against_a_forward_pass_of_other_peoples_code(tmp_path, write_jsonl, pairs):
    """The numpy backend's tokens beside those of transformers on the same ids."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = make_model(tmp_path / "llama")
    data = write_jsonl(pairs)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"version: 1\nname: t\ninput: {{use: jsonl, path: {data.name}}}\n"
        "models:\n  m: {use: reference, model: llama, precision: float64, detail: tokens}\n"
        "steps:\n  - {id: ifd, use: ifd}\noutput: {use: jsonl, path: out}\n"
    )
    found = tokens_of(qaqfilter.run(path).folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)

    def ids_of(text):
        return tokenizer(text, add_special_tokens=False).input_ids

    for row, (query, answer) in enumerate(pairs):
        target = ids_of(answer)
        for name, context in (
            ("answer", []),
            ("answer_given_query", [*ids_of(query), *ids_of("\n")]),
        ):
            ids = torch.tensor([[tokenizer.bos_token_id, *context, *target]])
            with torch.inference_mode():
                logits = theirs(ids).logits[0, :-1].log_softmax(-1)
            expected = logits.gather(1, ids[0, 1:, None])[-len(target) :, 0].numpy()
            # transformers keeps the rotary angles in float32 whatever the precision
            np.testing.assert_allclose(found[f"m.{name}.logprobs"][row], expected, atol=2e-5)


def test_the_sums_of_a_run_are_those_of_its_tokens(write_recipe):
    report = qaqfilter.run(write_recipe(PLAIN_IFD), overrides=BY_TOKEN)
    assert report.files["tokens"].name == "tokens.parquet"
    scores, tokens = pq.read_table(report.folder / "scores.parquet"), tokens_of(report.folder)
    assert [*tokens] == ["id", "part", "ordinal"] + [
        f"toy.{name}.logprobs" for name in ("answer", "answer_given_query")
    ]
    assert tokens["id"] == scores["id"].to_pylist()
    for name in ("toy.answer", "toy.answer_given_query"):
        lists = tokens[f"{name}.logprobs"]
        assert [len(row) for row in lists] == scores[f"{name}.tokens"].to_pylist()
        np.testing.assert_allclose(
            [sum(row) for row in lists], scores[f"{name}.logprob"], rtol=1e-6
        )


def test_nobody_pays_who_does_not_ask(write_recipe, tmp_path):
    report = qaqfilter.run(write_recipe(PLAIN_IFD), overrides=["run.store=st"])
    assert "tokens" not in report.files
    assert not list((tmp_path / "st").rglob("tokens"))


def test_tokens_asked_for_later_are_computed_again_and_no_score_changes(write_recipe, tmp_path):
    path = write_recipe(PLAIN_IFD)
    first = qaqfilter.run(path)
    before = visible(first.folder)
    again = qaqfilter.run(path, overrides=BY_TOKEN, replace=True)
    assert again.models[0].cost.stored == 0
    assert again.models[0].cost.computed == first.models[0].cost.computed
    after = visible(again.folder)
    assert set(after) - set(before) == {"tokens.parquet"}
    for name in ("kept.jsonl", "rejected.jsonl", "scores.parquet"):
        assert after[name] == before[name]
    third = qaqfilter.run(path, overrides=BY_TOKEN, replace=True)
    assert third.models[0].cost.computed == 0
    assert (third.folder / "tokens.parquet").read_bytes() == after["tokens.parquet"]
    last = qaqfilter.run(path, replace=True)
    assert last.models[0].cost.computed == 0, "whoever has tokens has sums"
    assert visible(last.folder).keys() == before.keys()


def test_what_plan_says_is_known_counts_tokens(write_recipe):
    path = write_recipe(PLAIN_IFD)
    qaqfilter.run(path)
    (plain,) = qaqfilter.plan(path).models
    (detailed,) = qaqfilter.plan(path, overrides=BY_TOKEN).models
    assert plain.stored == plain.planned > 0
    assert detailed.stored == 0


def test_an_earlier_step_asks_for_what_a_later_one_needs(write_recipe):
    """Nothing is asked twice, though only the second step looks at tokens."""
    path = write_recipe("  - {id: ifd, use: ifd, keep: {top: 6}}\n" + S_IFD)
    report = qaqfilter.run(path, overrides=["run.store=false"])
    assert len(report.models) == 1
    assert all(tokens_of(report.folder)["toy.answer.logprobs"])
    assert report.kept == 3


def test_records_without_a_likelihood_have_no_tokens(write_recipe, pairs):
    path = write_recipe(S_IFD, pairs=[*pairs[:3], ("", "alone"), ("empty", "")])
    found = tokens_of(qaqfilter.run(path).folder)
    assert [row is None for row in found["toy.answer.logprobs"]] == [False] * 4 + [True]
    assert [row is None for row in found["toy.answer_given_query.logprobs"]] == [False] * 3 + [
        True
    ] * 2


BACKWARDS = """
from qaqfilter import Component, Options, WindowScores, hookimpl

class Backwards:
    def __init__(self, config): pass
    def score(self, stage, windows):
        with stage.open() as score:
            yield from reversed(list(score(windows)))

class Forgetful(Backwards):
    def score(self, stage, windows):
        for one in super().score(stage, windows):
            yield WindowScores(
                one.rows, one.columns, one.cut, one.cost, one.batch_tokens, one.facts
            )

@hookimpl
def qaqfilter_executors():
    yield Component("backwards", Options, Backwards, "the last window first")
    yield Component("forgetful", Options, Forgetful, "without tokens")
"""


def test_windows_in_any_order_give_the_same_file(write_recipe, tmp_path):
    plugin = tmp_path / "backwards.py"
    plugin.write_text(BACKWARDS)
    path = write_recipe(S_IFD)
    straight = visible(qaqfilter.run(path, overrides=["run.window=3"]).folder)
    changes = ["run.window=3", "run.executor=backwards", "output.path=other", "run.store=false"]
    other = visible(qaqfilter.run(path, overrides=changes, plugins=[plugin]).folder)
    for name in ("kept.jsonl", "scores.parquet", "tokens.parquet"):
        assert other[name] == straight[name]
    with pytest.raises(
        qaqfilter.QaqfilterError, match=r"'forgetful' \(.*\) gave no tokens of toy\.answer"
    ):
        qaqfilter.run(path, overrides=["run.executor=forgetful"], plugins=[plugin], replace=True)


CONVERSATIONS = [
    ["Hi, add two", "a+b", "and three", "a+b+c"],
    ["Hi, multiply two", "a*b"],
    ["Hi", "", "and three", "a+b+c"],
]


@pytest.fixture
def conversations(tmp_path, write_recipe):
    path = write_recipe("  - {id: moved, use: s_ifd}")
    rows = [
        {
            "messages": [
                {"role": ("user", "assistant")[n % 2], "content": t} for n, t in enumerate(c)
            ]
        }
        for c in CONVERSATIONS
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_exchange_has_a_list_of_its_own(conversations):
    report = qaqfilter.run(conversations, overrides=["input.turns=each"])
    lists = tokens_of(report.folder)["toy.answer.logprobs"]
    assert [[None if one is None else len(one) for one in row] for row in lists] == [
        [3, 5],
        [3],
        [None, 5],
    ]
    (one,) = qaqfilter.run(conversations, replace=True).models  # turns: last
    last = tokens_of(report.folder)["toy.answer.logprobs"]
    assert [len(row) for row in last] == [5, 3, 5]
    assert one.records == 3


def test_exchanges_that_are_added_up_are_joined(conversations):
    each = tokens_of(qaqfilter.run(conversations, overrides=["input.turns=each"]).folder)
    both = qaqfilter.run(conversations, overrides=["input.turns=all"], replace=True)
    assert tokens_of(both.folder)["toy.answer.logprobs"] == [
        [number for one in each["toy.answer.logprobs"][0] for number in one],
        each["toy.answer.logprobs"][1][0],
        None,
    ]


# --- selected


@pytest.mark.parametrize("turns", ["last", "each", "all"])
def test_select_decides_by_tokens_without_a_model(conversations, monkeypatch, turns):
    keep = [f"input.turns={turns}", "steps.moved.keep.top=1"]
    qaqfilter.score_recipe(conversations, overrides=[f"input.turns={turns}"])
    no_models_patch = pytest.MonkeyPatch()
    no_models(no_models_patch)
    selected = visible(qaqfilter.select_recipe(conversations, overrides=keep).folder)
    no_models_patch.undo()
    run = visible(qaqfilter.run(conversations, overrides=[*keep, "output.path=whole"]).folder)
    for name in OUTPUTS:
        assert selected[name] == run[name], name


def test_a_dry_run_and_another_ratio(write_recipe, monkeypatch, tmp_path):
    path = write_recipe(S_IFD)
    qaqfilter.score_recipe(path)
    before = visible(tmp_path / "out")
    no_models(monkeypatch)
    kept = {
        ratio: qaqfilter.select_recipe(
            path, overrides=[f"steps.moved.keep_ratio={ratio}"], write=False
        ).kept
        for ratio in (0.1, 1)
    }
    assert kept == {0.1: 4, 1: 4}
    assert visible(tmp_path / "out") == before


def test_missing_tokens_are_said_like_missing_scores(write_recipe, capsys):
    path = write_recipe(PLAIN_IFD)
    qaqfilter.run(path)
    path.write_text(path.read_text().replace(PLAIN_IFD, S_IFD))
    assert run_cli(["select", str(path), "--dry-run"]) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert "8 records at step 'moved': toy.answer, token by token; the first is" in said
    assert f"score them with: qaqfilter run {path} --replace" in said
    report = qaqfilter.select_recipe(path, unscored="reject", write=False)
    assert report.steps[0].rejected == {"not_scored": 8}
    qaqfilter.run(path, replace=True)
    assert qaqfilter.select_recipe(path, write=False).kept == 4


def test_a_model_that_is_asked_for_detail_later_has_to_be_asked(write_recipe):
    path = write_recipe(PLAIN_IFD)
    qaqfilter.run(path)
    with pytest.raises(NotScored, match=r"toy\.answer, token by token"):
        qaqfilter.select_recipe(path, overrides=BY_TOKEN, write=False)


def test_select_goes_on_without_tokens_where_nobody_asks_any_more(write_recipe, monkeypatch):
    path = write_recipe(PLAIN_IFD)
    qaqfilter.run(path, overrides=BY_TOKEN)
    no_models(monkeypatch)
    report = qaqfilter.select_recipe(path, replace=True)
    assert "tokens.parquet" not in visible(report.folder)


def test_fewer_likelihoods_are_taken_over_by_name(write_recipe, monkeypatch):
    path = write_recipe(PLAIN_IFD + "\n  - {id: rmi, use: rmi}")
    first = qaqfilter.run(path, overrides=BY_TOKEN)
    whole = tokens_of(first.folder)
    assert len(whole) == 7
    path.write_text(path.read_text().replace("\n  - {id: rmi, use: rmi}", ""))
    no_models(monkeypatch)
    changes = [*BY_TOKEN, "output.path=less"]
    less = qaqfilter.select_recipe(path, overrides=changes, scores=first.folder)
    names = ["id", "part", "ordinal", "toy.answer.logprobs", "toy.answer_given_query.logprobs"]
    assert tokens_of(less.folder) == {name: whole[name] for name in names}


@pytest.mark.parametrize("damage", ["cut", "of another run", "lengths", "kind", "gone"])
def test_a_damaged_file_is_named(write_recipe, damage):
    path = write_recipe(S_IFD)
    folder = qaqfilter.run(path).folder
    file = folder / "tokens.parquet"
    table = pq.read_table(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    elif damage == "gone":
        file.unlink()
    elif damage == "of another run":
        pq.write_table(table.slice(1), file)
    else:
        lists = [row[1:] for row in table["toy.answer.logprobs"].to_pylist()]
        kind = pa.list_(pa.float32() if damage == "lengths" else pa.float64())
        pq.write_table(table.set_column(3, "toy.answer.logprobs", pa.array(lists, kind)), file)
    with pytest.raises(RunDirectoryError, match=r"tokens\.parquet cannot be read"):
        qaqfilter.select_recipe(path, write=False)


def test_no_file_where_no_numbers_are_wanted(write_recipe):
    report = qaqfilter.run(write_recipe(S_IFD), overrides=["output.scores=false"])
    assert not {"tokens.parquet", "scores.parquet"} & set(visible(report.folder))


def test_an_empty_input_has_an_empty_file(write_recipe, tmp_path, monkeypatch):
    path = write_recipe(S_IFD)
    (tmp_path / "data.jsonl").write_text("")
    first = qaqfilter.run(path, overrides=["input.layout=query_answer"])
    assert pq.read_metadata(first.folder / "tokens.parquet").num_rows == 0
    no_models(monkeypatch)
    qaqfilter.select_recipe(path, overrides=["input.layout=query_answer"], replace=True)


# --- from Python


def test_score_and_select_in_memory(pairs, write_recipe):
    records = [{"query": q, "answer": a} for q, a in pairs]
    table = qaqfilter.score(records, models={"toy": {"use": "ngram", "detail": "tokens"}})
    assert table["toy.query.logprobs"].type == pa.list_(pa.field("element", pa.float32()))
    step = {"id": "moved", "use": "s_ifd", "model": "toy", "keep": {"fraction": 0.5}}
    decided = qaqfilter.select(table, [step])
    report = qaqfilter.run(write_recipe(S_IFD))
    scores = pq.read_table(report.folder / "scores.parquet")
    assert decided["kept"].to_pylist() == scores["kept"].to_pylist()
    assert decided["moved.s_ifd"].to_pylist() == scores["moved.s_ifd"].to_pylist()
    both = pa.concat_tables([table.slice(0, 3), table.slice(3)])
    assert qaqfilter.select(both, [step]).equals(decided)


def test_a_table_without_tokens_says_what_it_lacks(pairs):
    records = [{"query": q, "answer": a} for q, a in pairs]
    table = qaqfilter.score(records, models={"toy": {"use": "ngram"}})
    step = {"id": "moved", "use": "s_ifd", "model": "toy"}
    with pytest.raises(NotScored, match='with detail: "tokens" in the model\'s block'):
        qaqfilter.select(table, [step])
    wrong = table.append_column(
        "toy.answer.logprobs", pa.array([[-1.0]] * 8, pa.list_(pa.float32()))
    ).append_column(
        "toy.answer_given_query.logprobs", pa.array([[-1.0]] * 8, pa.list_(pa.float32()))
    )
    with pytest.raises(UsageError, match="has not as many numbers as the likelihood has tokens"):
        qaqfilter.select(wrong, [step])


def test_detail_is_one_of_two_words(write_recipe):
    with pytest.raises(RecipeError, match=r"models\.toy\.detail"):
        qaqfilter.load_recipe(write_recipe(S_IFD), overrides=["models.toy.detail=token"])
