"""`turns: each` and `all`: every exchange has the numbers that it has as a record of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qaqfilter
from outputs import visible
from qaqfilter import (
    LIKELIHOODS,
    LikelihoodColumn,
    PromptError,
    PromptRefused,
    QaqfilterError,
    RecipeError,
    Table,
    TooManyBadRecords,
    Turn,
    UsageError,
    equal_count_bins,
    fractional_ranks,
)
from qaqfilter.layouts import LAYOUTS
from qaqfilter.units import Units, combined, pooled

WORDS = ["add", "two", "numbers", "and", "three", "of", "a", "list", "return", "sum"]


def talk(name: str, *texts: str, system: str | None = None) -> dict[str, object]:
    """A conversation whose turns are the user's and the model's in turn."""
    turns = [
        {"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)
    ]
    start = [] if system is None else [{"role": "system", "content": system}]
    return {"id": name, "messages": [*start, *turns]}


def some_talks(count: int = 24, seed: int = 1) -> list[dict[str, object]]:
    """Conversations of one to four exchanges, of random words."""
    rng = np.random.default_rng(seed)
    return [
        talk(
            f"t{n}",
            *(" ".join(rng.choice(WORDS, rng.integers(2, 7))) for _ in range(2 * (n % 4 + 1))),
            system="be brief" if n % 3 == 0 else None,
        )
        for n in range(count)
    ]


def cut_short(row: dict[str, object]) -> list[dict[str, object]]:
    """A conversation that ends with its first answer, one that ends with its second, and so on."""
    turns = row["messages"]
    assert isinstance(turns, list)
    ends = [n + 1 for n, turn in enumerate(turns) if turn["role"] == "assistant"]
    return [{"id": f"{row['id']}.{end}", "messages": turns[:end]} for end in ends]


MODELS = {
    "toy": {"use": "ngram", "order": 3, "fit": ["fit.txt"]},
    "weak": {"use": "ngram", "order": 1, "fit": ["fit.txt"]},
}
REFERENCE = {"toy": {"use": "reference", "model": "builtin:strong"}}


@pytest.mark.parametrize("models", [MODELS, REFERENCE], ids=["ngram", "reference"])
@pytest.mark.parametrize(
    "prompt", [None, {"use": "chat", "template": "chatml.jinja"}], ids=["plain", "chat"]
)
def test_an_exchange_has_the_numbers_of_a_record_that_ends_with_it(
    tmp_path, monkeypatch, models, prompt
):
    """The n-gram model gives the same bits; the reference may differ as its batches do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chatml.jinja").write_text(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    talks = some_talks(12)
    apart = [piece for row in talks for piece in cut_short(row)]
    (tmp_path / "fit.txt").write_text("add two numbers and return the sum of a list")
    options = {"models": models, "prompt": prompt, "store": False}
    single = qaqfilter.score(apart, **options)
    each = qaqfilter.score(talks, turns="each", **options)
    whole = qaqfilter.score(talks, turns="all", **options)
    last = qaqfilter.score(talks, **options)
    sizes = [len(cut_short(row)) for row in talks]
    ends = np.cumsum(sizes)
    for model in models:
        for name in LIKELIHOODS:
            of = f"{model}.{name}"
            wanted = np.array(single[f"{of}.logprob"])
            tokens = np.array(single[f"{of}.tokens"])
            assert [len(units) for units in each[f"{of}.logprob"].to_pylist()] == sizes
            close = {"rtol": 0 if models is MODELS else 1e-6}
            found = pc.list_flatten(each[f"{of}.logprob"])
            np.testing.assert_allclose(found, wanted, **close)
            assert pc.list_flatten(each[f"{of}.tokens"]).to_pylist() == tokens.tolist()
            np.testing.assert_allclose(last[f"{of}.logprob"], wanted[ends - 1], **close)
            by_talk = np.split(wanted, ends[:-1])
            np.testing.assert_allclose(
                whole[f"{of}.logprob"], [part.sum() for part in by_talk], rtol=1e-6
            )
            assert whole[f"{of}.tokens"].to_pylist() == [
                int(part.sum()) for part in np.split(tokens, ends[:-1])
            ]


def test_a_tool_is_answered_too_and_a_greeting_answers_nothing():
    turns = [("assistant", "hello"), ("user", "1"), ("assistant", "2"), ("tool", "3")]
    turns += [("assistant", "4"), ("assistant", "5"), ("user", "6"), ("user", "7")]
    turns += [("assistant", "8"), ("user", "9")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    content = LAYOUTS["messages"].scoring("each").read(row)
    record = content.record(b"", qaqfilter.Origin("x", 0), row)
    history = tuple(Turn(role, text) for role, text in turns)
    assert [(r.query, r.answer, r.history) for r in record.exchanges()] == [
        ("1", "2", history[:1]),
        ("3", "4", history[:3]),
        ("7", "8", history[:7]),
    ]
    assert record.units == 3
    assert [r.units for r in record.exchanges()] == [1, 1, 1]
    pooled_record = LAYOUTS["messages"].scoring("all").read(row).record(b"", record.origin, row)
    assert pooled_record.units == 1
    assert [(r.query, r.answer) for r in pooled_record.exchanges()] == [
        (r.query, r.answer) for r in record.exchanges()
    ]
    only = LAYOUTS["messages"].read(row).record(b"", record.origin, row)
    assert only.exchanges() == (only,)
    assert (only.query, only.history, only.id) == (record.query, record.history, record.id)


# --- chains

STEPS = """\
  - {id: sane, use: length, keep: {min: 20}}
  - {id: rmi, use: rmi, model: toy, combine: min, strata: {by: nll_query, bins: 3},
     keep: {rank: [0.1, 1.0]}}
  - {id: qaq, use: disagreement, strong: toy, weak: weak, bins: 2, keep: {fraction: 0.5}}"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A chain over conversations, every exchange of which is scored."""
    rows = [json.dumps(row) for row in some_talks(40)]
    (tmp_path / "talks.jsonl").write_text("".join(row + "\n" for row in rows))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "version: 1\nname: talks\ninput: {use: jsonl, path: talks.jsonl, turns: each}\n"
        "models: {toy: {use: ngram, order: 3}, weak: {use: ngram, order: 1}}\n"
        f"steps:\n{STEPS}\noutput: {{use: jsonl, path: out}}\n"
    )
    return path


def lists(table, name: str) -> list[list[float | None]]:
    return table[name].to_pylist()


def test_scores_are_combined_before_ranks_and_strata(tmp_path, recipe):
    """By hand, from the likelihoods in scores.parquet."""
    qaqfilter.score_recipe(recipe, everything=True)
    table = pq.read_table(tmp_path / "out" / "scores.parquet")

    def nll(model: str, name: str) -> list[list[float]]:
        sums, tokens = (lists(table, f"{model}.{name}.{what}") for what in ("logprob", "tokens"))
        return [
            [-s / t for s, t in zip(own, counts, strict=True)]
            for own, counts in zip(sums, tokens, strict=True)
        ]

    def rmi(model: str) -> list[list[float]]:
        alone, given = nll(model, "query"), nll(model, "query_given_answer")
        return [
            [a - b for a, b in zip(*pair, strict=True)] for pair in zip(alone, given, strict=True)
        ]

    strong, weak = rmi("toy"), rmi("weak")
    assert [len(own) for own in strong] == [n % 4 + 1 for n in range(40)]
    steps = table["step"].to_pylist()

    def reached(step: str, values: list[float]) -> None:
        found = table[step].to_pylist()
        assert [value is not None for value in found] == [s != "sane" for s in steps]
        pairs = [pair for pair in zip(found, values, strict=True) if pair[0] is not None]
        np.testing.assert_allclose(*zip(*pairs, strict=True), rtol=1e-12)

    reached("rmi.rmi", [min(own) for own in strong])
    # What stands beside the score is combined like it.
    reached("rmi.nll_query", [min(own) for own in nll("toy", "query")])
    # The records that came to `qaq`; its combine is the mean.
    came = np.flatnonzero([step in ("qaq", None) for step in steps])
    assert 10 < len(came) < 40
    means = [np.array([np.mean(own) for own in r])[came] for r in (strong, weak)]
    binned = [
        equal_count_bins(np.array([np.mean(own) for own in nll(m, "query")])[came], 2)
        for m in ("toy", "weak")
    ]
    ranks = [fractional_ranks(m, b) for m, b in zip(means, binned, strict=True)]
    found = np.array(table["qaq.diff"].to_pylist(), dtype=float)[came]
    np.testing.assert_allclose(found, ranks[0] - ranks[1], atol=1e-12)


def test_select_repeats_a_run_and_combines_anew_without_a_model(tmp_path, recipe, monkeypatch):
    qaqfilter.run(recipe)
    whole = visible(tmp_path / "out")
    changed = ["steps.rmi.combine=max", "steps.rmi.keep.rank=[0.0, 1.0]"]
    qaqfilter.score_recipe(recipe, everything=True, overrides=[f"output.path={tmp_path / 'all'}"])
    other = tmp_path / "other"
    qaqfilter.run(recipe, overrides=[*changed, f"output.path={other}"])

    def refuse(self):
        raise AssertionError("a model was opened")

    monkeypatch.setattr("qaqfilter.stages.ScoringStage.open", refuse)
    selected = tmp_path / "selected"
    to = [f"output.path={selected}"]
    qaqfilter.select_recipe(recipe, scores=tmp_path / "all", overrides=to)
    for name in ("kept.jsonl", "rejected.jsonl"):
        assert visible(selected)[name] == whole[name]
    qaqfilter.select_recipe(
        recipe, scores=tmp_path / "all", overrides=[*to, *changed], replace=True
    )
    for name in ("kept.jsonl", "rejected.jsonl"):
        assert visible(selected)[name] == visible(other)[name]
    assert visible(other)["kept.jsonl"] != whole["kept.jsonl"]


def test_a_selection_by_other_turns_is_refused(recipe):
    qaqfilter.run(recipe)
    with pytest.raises(QaqfilterError, match=r"of another input \(input.turns: "):
        qaqfilter.select_recipe(recipe, overrides=["input.turns=all"], replace=True)


def test_kept_conversations_leave_as_they_came(tmp_path, recipe):
    for turns in ("each", "all"):
        report = qaqfilter.run(recipe, overrides=[f"input.turns={turns}"], replace=True)
        assert 0 < report.kept < report.read
        lines = (tmp_path / "talks.jsonl").read_bytes().splitlines(keepends=True)
        kept = (tmp_path / "out" / "kept.jsonl").read_bytes().splitlines(keepends=True)
        assert kept == [line for line in lines if line in set(kept)]


def test_an_answer_is_computed_with_the_one_before_it(tmp_path, recipe):
    """In a conversation the answer's sequence begins with that of the answer before."""
    (tmp_path / "chatml.jinja").write_text(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    chat = [
        "prompt.use=chat",
        "prompt.template=chatml.jinja",
        "steps=[{id: p, use: perplexity, model: toy, of: answer_given_query}]",
    ]
    report = qaqfilter.run(recipe, overrides=chat)
    planned = report.models[0].cost.planned
    last = qaqfilter.run(recipe, overrides=[*chat, "input.turns=last"], replace=True)
    # The last answer of each conversation has all the others on its way.
    assert planned == last.models[0].cost.planned
    assert report.models[0].cost.asked > planned


def test_one_undefined_exchange_leaves_the_record_without_a_score(tmp_path, recipe):
    rows = [
        talk("whole", "add two", "two", "add three", "three"),
        talk("hole", "add two", "", "add three", "three"),
        talk("end", "add two", "two", "", "three"),
    ]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = ["steps=[{id: r, use: rmi, model: toy, keep: {min: -100}}]"]
    for turns in ("each", "all"):
        qaqfilter.run(recipe, overrides=[*steps, f"input.turns={turns}"], replace=True)
        rejected = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
        assert [(json.loads(r)["id"], json.loads(r)["reason"]) for r in rejected] == [
            ("hole", "empty_answer"),
            ("end", "empty_query"),
        ]
    table = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert table["toy.query_given_answer.missing"].to_pylist() == [
        None,
        "empty_answer",
        "empty_query",
    ]


def test_preview_and_plan_know_exchanges(recipe):
    preview = qaqfilter.preview(recipe, records=4)
    numbers = preview.records[3].numbers
    assert {"rmi.rmi", "toy.query.nll", "weak.query.nll"} <= set(numbers)
    assert isinstance(numbers["toy.query.nll"], float)
    plan = qaqfilter.plan(recipe, sample=40)
    long = [
        row
        for row in some_talks(40)
        if sum(len(turn["content"]) for turn in row["messages"] if turn["role"] != "system") >= 20
    ]
    assert plan.models[0].records == len(long)
    assert plan.models[0].requests["query"] == sum(len(cut_short(row)) for row in long)


def test_lengths_are_those_of_all_that_is_scored(tmp_path, recipe):
    (tmp_path / "talks.jsonl").write_text(json.dumps(talk("t", "1", "22", "333", "4444")))
    for turns, length in (("last", 7), ("each", 10), ("all", 10)):
        steps = ["steps=[{id: n, use: length}]", f"input.turns={turns}"]
        qaqfilter.run(recipe, overrides=steps, replace=True)
        table = pq.read_table(tmp_path / "out" / "scores.parquet")
        assert table["n.length"].to_pylist() == [length]


def test_a_cut_answer_is_one_of_its_conversation(tmp_path, recipe):
    long = "one two three four five six seven eight nine ten " * 60
    rows = [talk("a", "add", "two", "add", long), talk("b", "add", "two", "add", "three")]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = "{toy: {use: reference, model: 'builtin:weak', too_long: cut_answer}}"
    steps = ["steps=[{id: p, use: perplexity, of: answer}]", f"models={model}"]
    found = {}
    for turns in ("last", "each", "all"):
        qaqfilter.run(recipe, overrides=[*steps, f"input.turns={turns}"], replace=True)
        table = pq.read_table(tmp_path / "out" / "scores.parquet")
        found[turns] = table["toy.cut"].to_pylist(), table["toy.answer.tokens"].to_pylist()
    cut, tokens = found["last"]
    assert cut[0] > 0
    assert cut[1] == 0
    assert found["each"][0] == found["all"][0] == cut
    first = [units[0] for units in found["each"][1]]
    assert found["each"][1] == [[n, last] for n, last in zip(first, tokens, strict=True)]
    assert found["all"][1] == [n + last for n, last in zip(first, tokens, strict=True)]


def test_from_a_table_to_decisions_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.txt").write_text("add two numbers and return the sum of a list")
    talks = some_talks(12)
    table = qaqfilter.score(talks, models=MODELS, turns="each")
    for how in ("mean", "min", "max"):
        steps = [{"id": "r", "use": "rmi", "model": "toy", "combine": how, "keep": {"top": 3}}]
        found = qaqfilter.select(table, steps)
        alone, given = (
            [
                [-s / t for s, t in zip(*own, strict=True)]
                for own in zip(
                    lists(table, f"toy.{name}.logprob"),
                    lists(table, f"toy.{name}.tokens"),
                    strict=True,
                )
            ]
            for name in ("query", "query_given_answer")
        )
        units = [
            [a - b for a, b in zip(*own, strict=True)] for own in zip(alone, given, strict=True)
        ]
        wanted = [{"mean": np.mean, "min": min, "max": max}[how](own) for own in units]
        np.testing.assert_allclose(found["r.rmi"], wanted, rtol=1e-12)
        assert sum(found["kept"].to_pylist()) == 3
    with pytest.raises(RecipeError, match="combine"):
        qaqfilter.select(table, [{"id": "r", "use": "rmi", "model": "toy", "combine": "median"}])
    with pytest.raises((UsageError, RecipeError), match="turns"):
        qaqfilter.score(talks, models=MODELS, turns="first")


def test_a_conversation_in_a_field_of_any_name(tmp_path):
    rows = [{"chat": {"said": row["messages"]}, "key": n} for n, row in enumerate(some_talks(4))]
    fields = {"conversation": "chat.said", "id": "key"}
    table = qaqfilter.score(rows, models=REFERENCE, fields=fields, turns="each")
    assert table["id"].to_pylist() == ["0", "1", "2", "3"]
    assert [len(x) for x in lists(table, "toy.query.tokens")] == [1, 2, 3, 4]
    for wrong in ({"query": "a"}, {"conversation": "a", "query": "b", "answer": "c"}, {}):
        with pytest.raises(RecipeError, match="name `query` and `answer`, or `conversation`"):
            qaqfilter.score(rows, models=REFERENCE, fields=wrong)


# --- the arithmetic

COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=12)


@given(COUNTS, st.data())
def test_entries_of_records(counts, data):
    units = Units.of_counts(counts)
    if units is None:
        assert set(counts) == {1}
        return
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), unique=True).map(sorted))
    wanted = [entry for row in rows for entry in range(sum(counts[:row]), sum(counts[: row + 1]))]
    assert units.entries(np.array(rows, dtype=np.int64)).tolist() == wanted
    assert units.total == sum(counts)


@given(COUNTS, st.data())
def test_combined_and_pooled_by_hand(counts, data):
    total = sum(counts)
    floats = st.floats(-100, 100, allow_nan=False) | st.just(float("nan"))
    values = np.array(data.draw(st.lists(floats, min_size=total, max_size=total)))
    ends = np.cumsum(counts)
    parts = np.split(values, ends[:-1])
    number = np.array(counts)
    np.testing.assert_allclose(combined(values, number, "mean"), [p.mean() for p in parts])
    np.testing.assert_array_equal(combined(values, number, "min"), [p.min() for p in parts])
    np.testing.assert_array_equal(combined(values, number, "max"), [p.max() for p in parts])
    status = np.array(
        data.draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4]), min_size=total, max_size=total)),
        dtype=np.int8,
    )
    column = LikelihoodColumn(
        np.where(status == 0, -np.abs(np.nan_to_num(values)), np.nan),
        np.where(status == 0, 3, 0).astype(np.int32),
        status,
    )
    found = pooled(column, number)
    for place, part in enumerate(np.split(np.arange(total), ends[:-1])):
        own = column.take(part)
        assert found.status[place] == own.status.max()
        if not own.status.any():
            assert found.tokens[place] == 3 * len(part)
            assert found.logprob[place] == pytest.approx(own.logprob.sum())
        else:
            assert np.isnan(found.logprob[place])
            assert found.tokens[place] == 0


def test_a_table_without_units_combines_to_itself():
    values = np.array([1.0, 2.0])
    table = Table(np.arange(2))
    assert table.combine(values) is values
    assert table.records == 2


# --- conversations that a template refuses

ALTERNATE = (
    "{% for m in messages %}{% if m.role not in ('user', 'assistant') %}"
    "{{ raise_exception('only users and assistants') }}{% endif %}<{{ m.role }}>{{ m.content }}"
    "{% endfor %}"
)


@pytest.fixture
def refusing(tmp_path: Path) -> Path:
    """Ten conversations, of which one holds a system text and one a tool's turn."""
    rows = [talk(f"t{n}", "add", "two", "add more", "three", system=None) for n in range(10)]
    rows[3] = talk("system", "add", "two", system="be brief")
    tool = talk("tool", "add", "two", "add more", "three")
    tool["messages"][1:1] = [{"role": "tool", "content": "ran"}]
    rows[7] = tool
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "template.jinja").write_text(ALTERNATE)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "version: 1\nname: talks\ninput: {use: jsonl, path: talks.jsonl, max_errors: 2}\n"
        "models: {toy: {use: ngram}}\nprompt: {use: chat, template: template.jinja}\n"
        "steps: [{id: r, use: rmi, keep: {min: -100}}]\noutput: {use: jsonl, path: out}\n"
    )
    return path


@pytest.mark.parametrize("turns", ["last", "each", "all"])
def test_what_a_template_refuses_is_a_null(tmp_path, refusing, turns):
    report = qaqfilter.run(refusing, overrides=[f"input.turns={turns}"])
    assert (report.kept, report.rejected) == (8, 2)
    rejected = [
        json.loads(x) for x in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    ]
    assert [(r["id"], r["reason"]) for r in rejected] == [
        ("system", "no_prompt"),
        ("tool", "no_prompt"),
    ]
    # Selected anew from the file, they are null for the same reason.
    qaqfilter.select_recipe(refusing, overrides=[f"input.turns={turns}"], replace=True)
    again = [json.loads(x) for x in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert again == rejected


def test_many_refusals_end_the_run(refusing):
    with pytest.raises(TooManyBadRecords) as caught:
        qaqfilter.run(refusing, overrides=["input.max_errors=1"])
    message = str(caught.value)
    assert "the prompt of model 'toy' (ngram) cannot show 2 of the 10 records" in message
    assert "the first is talks.jsonl:4: " in message
    assert "only users and assistants (in a record with a system text of its own)" in message
    assert "no_prompt" in message


def test_a_template_that_shows_nobody_ends_the_run_at_once(tmp_path, refusing):
    (tmp_path / "template.jinja").write_text("{{ raise_exception('never') }}")
    (tmp_path / "talks.jsonl").write_text('{"query": "a", "answer": "b"}\n')
    with pytest.raises(PromptError, match="never") as caught:
        qaqfilter.run(refusing)
    assert not isinstance(caught.value, PromptRefused)
