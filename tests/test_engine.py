"""Whole runs with the exact n-gram model: every record ends in one place, survivors go on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest

import qaqfilter
from outputs import visible
from qaqfilter import (
    PluginFailed,
    QaqfilterError,
    RunDirectoryError,
    SourceError,
    TooManyBadRecords,
)

RMI = "  - {id: rmi, use: rmi, keep: {fraction: 0.5}}"


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def scores(tmp_path):
    return pq.read_table(tmp_path / "out" / "scores.parquet").to_pydict()


def test_every_record_ends_in_one_place(tmp_path, write_recipe, pairs):
    recipe = write_recipe(
        "  - {id: sane, use: length, of: query, keep: {min: 15}}\n" + RMI, pairs=[*pairs, ("", "x")]
    )
    with (tmp_path / "data.jsonl").open("ab") as file:
        file.write(b'{"query": "broken\n')
    recipe.write_text(recipe.read_text().replace("data.jsonl}", "data.jsonl, max_errors: 2}"))
    report = qaqfilter.run(recipe)
    assert (report.read, report.quarantined) == (10, 1)
    assert report.kept + report.rejected + report.quarantined == report.read
    out = tmp_path / "out"
    kept, rejected = lines(out / "kept.jsonl"), lines(out / "rejected.jsonl")
    assert (len(kept), len(rejected)) == (report.kept, report.rejected)
    original = lines(tmp_path / "data.jsonl")
    assert kept == [line for line in original if line in set(kept)]
    said = [json.loads(line) for line in rejected]
    back = [json.dumps(r["record"]).encode() + b"\n" for r in said]
    assert sorted(kept + back) == sorted(original[:-1])
    by_step = {step.id: dict(step.rejected) for step in report.steps}
    assert by_step["sane"] == {"min": sum(r["step"] == "sane" for r in said)}
    quarantine = json.loads((out / "quarantine.jsonl").read_bytes())
    assert (quarantine["line"], quarantine["raw"]) == (10, '{"query": "broken\n')
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert (manifest["kept"], manifest["quarantined"]) == (report.kept, 1)
    assert manifest["models"][0]["fingerprint"] == report.models[0].fingerprint
    assert len(report.models[0].fingerprint) == 32


def test_rejects_say_step_reason_value_and_bound(tmp_path, write_recipe):
    report = qaqfilter.run(write_recipe("  - {id: p, use: perplexity, keep: {max: 50.0}}"))
    table = scores(tmp_path)
    rejected = [json.loads(line) for line in lines(tmp_path / "out" / "rejected.jsonl")]
    assert 0 < len(rejected) < report.read
    for entry in rejected:
        assert (entry["step"], entry["reason"], entry["bound"]) == ("p", "max", 50.0)
        assert entry["value"] > 50
        assert entry["value"] == table["p.perplexity"][entry["ordinal"]]


def test_later_steps_score_survivors_only(tmp_path, write_recipe):
    recipe = write_recipe(
        "  - {id: cheap, use: random, keep: {top: 3}}\n"
        "  - {id: dear, use: perplexity, keep: {top: 2}}"
    )
    report = qaqfilter.run(recipe)
    assert [(s.read, s.kept) for s in report.steps] == [(8, 3), (3, 2)]
    assert [model.records for model in report.models] == [3]
    table = scores(tmp_path)
    assert sum(x is not None for x in table["toy.answer.logprob"]) == 3
    assert Counter(table["step"]) == {"cheap": 5, "dear": 1, None: 2}


def test_what_is_known_is_not_scored_again(write_recipe):
    """The second step wants what the first had: the model runs once."""
    steps = RMI + "\n  - {id: again, use: rmi, keep: {top: 2}}"
    report = qaqfilter.run(write_recipe(steps))
    assert [model.records for model in report.models] == [8]
    assert report.kept == 2


def test_score_only_steps_share_the_pass_of_the_next(write_recipe, tmp_path):
    apart = qaqfilter.run(
        write_recipe("  - {id: ifd, use: ifd, keep: {min: 0.0}}\n" + RMI), replace=True
    )
    path = write_recipe("  - {id: ifd, use: ifd}\n" + RMI)
    together = qaqfilter.run(path, overrides=["run.store=false"], replace=True)
    assert len(apart.models) == 2
    assert len(together.models) == 1
    cost = together.models[0].cost
    assert 0 < cost.planned < cost.asked
    assert (cost.computed, cost.reused, cost.padding) == (cost.planned, 0, 0)  # ngram pads nothing
    assert 0 < cost.seconds < together.models[0].seconds
    manifest = json.loads((together.folder / "manifest.json").read_bytes())
    assert manifest["models"][0]["cost"] == asdict(cost)
    assert together.models[0].cost.planned < sum(m.cost.planned for m in apart.models)
    assert together.kept == apart.kept


TWO_MODELS = """
import numpy as np
from qaqfilter import Component, Options, hookimpl

OPEN, LOG = [], []

class LabelOptions(Options):
    label: str
    slope: float

class Labelled:
    max_length, batch_tokens, start_token, adds_start = 4096, 4096, 256, True
    chat_template = None

    def __init__(self, config, resources):
        self.config = config
        self.facts = {"label": config.label}
        OPEN.append(config.label)
        LOG.append(tuple(OPEN))

    def encode(self, text, *, markup):
        return list(text.encode())

    def logprobs(self, sequences):
        return [tuple(-self.config.slope * (1 + np.array(s.ids[a:b]) % 7) for a, b in s.spans)
                for s in sequences]

    def close(self):
        OPEN.remove(self.config.label)
        LOG.append(tuple(OPEN))

@hookimpl
def qaqfilter_backends():
    yield Component("labelled", LabelOptions, Labelled, "a test's backend")
"""


def test_two_models_are_never_open_together(tmp_path, write_recipe):
    plugin = tmp_path / "two_models.py"
    plugin.write_text(TWO_MODELS)
    recipe = write_recipe(
        "  - {id: qaq, use: disagreement, strong: a, weak: b, keep: {fraction: 0.5}}",
        head="  a: {use: labelled, label: a, slope: 0.1}\n"
        "  b: {use: labelled, label: b, slope: 0.2}\n",
    )
    report = qaqfilter.run(recipe, plugins=[plugin])
    import sys

    log = sys.modules["qaqfilter_file_two_models"].LOG
    assert log == [("a",), (), ("b",), ()]
    assert [model.name for model in report.models] == ["a", "b"]


def test_a_step_with_its_own_prompt_has_its_own_numbers(tmp_path, write_recipe):
    qaqfilter.run(
        write_recipe(
            "  - {id: one, use: perplexity, of: answer_given_query}\n"
            "  - {id: two, use: perplexity, of: answer_given_query,"
            " prompt: {use: plain, separator: '###'}}"
        )
    )
    table = scores(tmp_path)
    assert table["toy.answer_given_query.logprob"] != table["two@toy.answer_given_query.logprob"]
    assert table["one.nll"] != table["two.nll"]


def test_windows_and_order_do_not_change_a_number(tmp_path, write_recipe):
    recipe = write_recipe("  - {id: ifd, use: ifd}\n" + RMI)
    qaqfilter.run(recipe)
    whole = scores(tmp_path)
    qaqfilter.run(recipe, overrides=["run.window=3"], replace=True)
    assert scores(tmp_path) == whole


def test_groups_are_ranked_among_their_peers(tmp_path, write_recipe):
    recipe = write_recipe("  - {id: p, use: perplexity, group: kind, keep: {fraction: 0.5}}")
    rows = [
        {"query": f"q{i}", "answer": "x" * (i % 4 + 1) * (9 if i < 4 else 1), "kind": i // 4}
        for i in range(8)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    qaqfilter.run(recipe)
    kept = [json.loads(line)["kind"] for line in lines(tmp_path / "out" / "kept.jsonl")]
    assert sorted(kept) == [0, 0, 1, 1]


def test_limit_reads_only_so_many(write_recipe):
    assert qaqfilter.run(write_recipe(RMI), limit=3).read == 3


def test_ids_that_stand_twice_are_told_apart(tmp_path, write_recipe, pairs):
    qaqfilter.run(write_recipe(RMI, pairs=[pairs[0], pairs[1], pairs[0], pairs[0]]))
    ids = scores(tmp_path)["id"]
    assert ids[2:] == [f"{ids[0]}#2", f"{ids[0]}#3"]
    assert len(set(ids)) == 4


def test_too_many_bad_records_end_the_run_before_any_model(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    with (tmp_path / "data.jsonl").open("ab") as file:
        file.write(b"not json\n")
    with pytest.raises(TooManyBadRecords, match="1 of 9 records are bad") as caught:
        qaqfilter.run(recipe)
    assert caught.value.exit_code == 3
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["quarantine.jsonl"]
    text = recipe.read_text()
    recipe.write_text(text.replace("data.jsonl}", "data.jsonl, max_errors: 1}"))
    assert qaqfilter.run(recipe).quarantined == 1
    recipe.write_text(text.replace("data.jsonl}", "data.jsonl, on_error: fail}"))
    with pytest.raises(TooManyBadRecords, match=r"data\.jsonl:9"):
        qaqfilter.run(recipe, replace=True)


def test_a_file_of_the_user_is_not_overwritten_unasked(tmp_path, write_recipe):
    mine = tmp_path / "out" / "kept.jsonl"
    mine.parent.mkdir()
    mine.write_text("mine\n")
    with pytest.raises(RunDirectoryError, match=r"kept\.jsonl is there, and no finished run left"):
        qaqfilter.run(write_recipe(RMI))
    assert mine.read_text() == "mine\n"
    assert qaqfilter.run(write_recipe(RMI), replace=True).kept == 4


def test_a_failed_run_leaves_what_was_there(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    plugin = tmp_path / "failing.py"
    plugin.write_text(
        "from qaqfilter import Component, Options, hookimpl\n"
        "class Failing:\n"
        "    columns = ('x',)\n"
        "    needs = ()\n"
        "    def __init__(self, config): pass\n"
        "    def score(self, table): raise RuntimeError('in the middle')\n"
        "@hookimpl\n"
        "def qaqfilter_selectors():\n"
        "    yield Component('failing', Options, Failing, 'fails')\n"
    )
    with pytest.raises(PluginFailed, match="RuntimeError: in the middle"):
        qaqfilter.run(
            recipe, overrides=["steps.rmi={id: f, use: failing}"], plugins=[plugin], replace=True
        )
    assert visible(tmp_path / "out") == before


def test_input_that_changes_between_two_reads_ends_the_run(tmp_path, write_recipe, pairs):
    plugin = tmp_path / "meddler.py"
    plugin.write_text(
        "from qaqfilter import Component, Options, hookimpl\n"
        "class Meddler:\n"
        "    columns = ('x',)\n"
        "    needs = ()\n"
        "    def __init__(self, config): pass\n"
        "    def score(self, table):\n"
        f"        with open({str(tmp_path / 'data.jsonl')!r}, 'a') as file:\n"
        '            file.write(\'{"query": "late", "answer": "one"}\\n\')\n'
        "        return {'x': table.rows * 1.0}\n"
        "@hookimpl\n"
        "def qaqfilter_selectors():\n"
        "    yield Component('meddler', Options, Meddler, 'appends to the input')\n"
    )
    recipe = write_recipe("  - {id: m, use: meddler}")
    with pytest.raises(SourceError, match="the input changed"):
        qaqfilter.run(recipe, plugins=[plugin])


def test_a_selector_that_gives_other_columns_is_found_out(tmp_path, write_recipe):
    plugin = tmp_path / "liar.py"
    plugin.write_text(
        "import numpy as np\n"
        "from qaqfilter import Component, Options, hookimpl\n"
        "class Liar:\n"
        "    columns = ('x',)\n"
        "    needs = ()\n"
        "    def __init__(self, config): pass\n"
        "    def score(self, table): return {'x': np.zeros(1 + len(table))}\n"
        "@hookimpl\n"
        "def qaqfilter_selectors():\n"
        "    yield Component('liar', Options, Liar, 'one too many')\n"
    )
    with pytest.raises(QaqfilterError, match=r"column 'x' has shape \(9,\) for a table of 8 rows"):
        qaqfilter.run(write_recipe("  - {id: l, use: liar}"), plugins=[plugin])


def test_the_numbers_written_are_the_numbers_decided_by(tmp_path, write_recipe):
    qaqfilter.run(write_recipe("  - {id: rmi, use: rmi, keep: {top: 3}}"))
    table = scores(tmp_path)
    nll = {
        name: -np.array(table[f"toy.{name}.logprob"]) / np.array(table[f"toy.{name}.tokens"])
        for name in ("query", "query_given_answer")
    }
    np.testing.assert_array_equal(nll["query"] - nll["query_given_answer"], table["rmi.rmi"])
    best = sorted(table["rmi.rmi"], reverse=True)[:3]
    kept = [x for x, keep in zip(table["rmi.rmi"], table["kept"], strict=True) if keep]
    assert sorted(kept, reverse=True) == best


def selector_plugin(tmp_path, body: str):
    """A single-file plugin whose selector `mine` has the given body."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from qaqfilter import Component, Options, hookimpl\n"
        "class Mine:\n"
        "    columns = ('x',)\n"
        "    def __init__(self, config): pass\n"
        f"    {body}\n"
        "@hookimpl\n"
        "def qaqfilter_selectors():\n"
        "    yield Component('mine', Options, Mine, 'a test')\n"
    )
    return path


@pytest.mark.parametrize("value", ["{}", "{'x': 'text'}", "{'y': 1.0}"])
def test_a_selector_that_measures_nonsense_is_found_out(tmp_path, write_recipe, value):
    plugin = selector_plugin(tmp_path, f"def measure(self, record): return {value}")
    with pytest.raises(
        QaqfilterError, match=r"step 'm': selector 'mine' \(.*mine.py\) measured .*data\.jsonl:1"
    ):
        qaqfilter.run(write_recipe("  - {id: m, use: mine, keep: {min: 0}}"), plugins=[plugin])


def test_a_filter_spares_the_next_one_its_work(tmp_path, write_recipe):
    """Of two filters in one read, the second measures only what the first kept."""
    plugin = selector_plugin(
        tmp_path,
        "def measure(self, record):\n"
        f"        with open({str(tmp_path / 'seen')!r}, 'a') as f:\n"
        "            f.write(record.query + chr(10))\n"
        "        return {'x': 1.0}",
    )
    steps = (
        "  - {id: short, use: length, of: query, keep: {max: 18}}\n"
        "  - {id: m, use: mine, keep: {min: 0}}"
    )
    report = qaqfilter.run(write_recipe(steps), plugins=[plugin])
    assert 0 < report.kept < 8
    assert len((tmp_path / "seen").read_text().splitlines()) == report.kept


def test_a_watcher_that_fails_is_named(tmp_path, write_recipe):
    plugin = tmp_path / "watcher.py"
    plugin.write_text(
        "from qaqfilter import hookimpl\n"
        "@hookimpl\n"
        "def qaqfilter_step_finished(step):\n"
        "    raise ValueError('no good')\n"
    )
    message = r"plugin 'watcher.py' \(.*\) failed in qaqfilter_step_finished: ValueError: no good"
    with pytest.raises(QaqfilterError, match=message):
        qaqfilter.run(write_recipe(RMI), plugins=[plugin])


def test_the_manifest_says_that_a_run_was_limited(tmp_path, write_recipe):
    qaqfilter.run(write_recipe(RMI), limit=5)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert (manifest["order"]["limit"], manifest["read"]) == (5, 5)


EXECUTOR = """
from qaqfilter import Component, Options, hookimpl

class Careless:
    def __init__(self, config): pass

    def score(self, stage, windows):
        with stage.open() as score:
            first, *rest = windows
            yield from score([first, *(first for _ in rest)])

@hookimpl
def qaqfilter_executors():
    yield Component("careless", Options, Careless, "the first window over and over")
"""


def test_an_executor_that_scores_a_window_twice_is_found_out(tmp_path, write_recipe):
    plugin = tmp_path / "careless.py"
    plugin.write_text(EXECUTOR)
    recipe = write_recipe(RMI, head="")
    overrides = ["run.window=4", "run.executor=careless"]
    with pytest.raises(
        QaqfilterError, match=r"executor 'careless' \(.*\) scored 8 of 8 records not"
    ):
        qaqfilter.run(recipe, overrides=overrides, plugins=[plugin])


def test_a_record_too_long_is_rejected_with_its_reason_or_cut(tmp_path, write_recipe, pairs):
    plugin = tmp_path / "short.py"
    plugin.write_text(
        "from qaqfilter import Component, hookimpl\n"
        "from qaqfilter_ngram import NgramOptions\n"
        "from qaqfilter_ngram.backend import NgramBackend\n"
        "class Short(NgramBackend):\n"
        "    max_length = 60\n"
        "@hookimpl\n"
        "def qaqfilter_backends():\n"
        "    yield Component('short', NgramOptions, Short, 'at most 60 tokens')\n"
    )
    recipe = write_recipe("  - {id: ifd, use: ifd, keep: {min: 0}}", pairs=pairs)
    report = qaqfilter.run(recipe, overrides=["models.toy.use=short"], plugins=[plugin])
    assert report.steps[0].rejected == {"too_long": report.rejected}
    assert report.rejected > 0
    overrides = ["models.toy.use=short", "models.toy.too_long=cut_answer"]
    report = qaqfilter.run(recipe, overrides=overrides, plugins=[plugin], replace=True)
    assert report.rejected == 0
    cut = scores(tmp_path)["toy.cut"]
    assert [len(q) + len(a) + 2 - 60 if len(q) + len(a) + 2 > 60 else 0 for q, a in pairs] == cut


def test_a_chain_goes_on_when_nobody_is_left(write_recipe):
    steps = (
        "  - {id: none, use: length, of: query, keep: {min: 1000}}\n"
        "  - {id: len, use: length, of: answer, keep: {min: 1}}\n"
        "  - {id: p, use: perplexity, group: kind, keep: {fraction: 0.5}}\n" + RMI
    )
    report = qaqfilter.run(write_recipe(steps))
    assert [(step.read, step.kept) for step in report.steps] == [(8, 0), (0, 0), (0, 0), (0, 0)]
    assert report.rejected == 8
