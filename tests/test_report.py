"""The report: its numbers against counts by hand, what it warns of, what it may not do to a run."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import qaqfilter
from outputs import Said, visible
from qaqfilter.cli import run_cli
from qaqfilter.columns import Columns
from qaqfilter.errors import PluginError, RecipeError, RunDirectoryError
from qaqfilter.finished import Part
from qaqfilter.manager import load_plugins
from qaqfilter.reopening import reopened
from qaqfilter.types import LikelihoodColumn
from qaqfilter_report import findings
from qaqfilter_report.agreement import agreements, spearman
from qaqfilter_report.binning import bins_for
from qaqfilter_report.choosing import SAMPLED, choose
from qaqfilter_report.code import highlighted, seen
from qaqfilter_report.page import ReportPage
from qaqfilter_report.sections import sections


def _benchmark():
    """benchmarks/report.py, which makes runs of any size. The checkout is not on the path."""
    path = Path(__file__).parent.parent / "benchmarks" / "report.py"
    spec = importlib.util.spec_from_file_location("made_runs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_made = _benchmark()
made, record, report_of = _made.made, _made.record, _made.report_of

STEPS = """
  - {id: sane, use: length, of: answer, keep: {min: 17}}
  - {id: coherent, use: rmi, strata: {by: nll_query, bins: 2}, keep: {rank: [0.3, 1.0]}}
"""


def data_of(html: bytes, name: str):
    """The JSON that stands in the page for its scripts."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html.decode())
    return json.loads(found[1])


@pytest.fixture
def command(capsys):
    """Run a verb: exit code, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_cli(list(words))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def run(tmp_path, write_recipe):
    """A small run over two steps."""
    qaqfilter.run(write_recipe(STEPS))
    return tmp_path / "out"


def test_a_run_leaves_a_report_that_the_verb_writes_again(run, command):
    first = (run / "report.html").read_bytes()
    manifest = json.loads((run / "manifest.json").read_bytes())
    assert manifest["files"]["report"] == "report.html"
    (run / "report.html").unlink()
    code, out, _ = command("report", str(run))
    assert (code, out) == (0, f"written: {run / 'report.html'}\n")
    assert (run / "report.html").read_bytes() == first


def test_elsewhere_and_without_input(run, command, tmp_path):
    code, _, _ = command("report", str(run), "-o", str(tmp_path / "mine.html"))
    assert code == 0
    assert (tmp_path / "mine.html").read_bytes() == (run / "report.html").read_bytes()
    code, _, err = command("report", str(run), "-o", str(tmp_path / "no" / "mine.html"))
    assert code == 2
    assert "no/mine.html" in err
    data = next(tmp_path.glob("*.jsonl"))
    data.write_text(data.read_text().replace("two", "four"))
    code, _, err = command("report", str(run))
    assert code == 1
    assert "the input changed" in err


def test_what_is_no_run_is_said(tmp_path, command):
    code, _, err = command("report", str(tmp_path))
    assert code == 1
    assert f"in {tmp_path} there is no finished run" in err


def test_its_numbers_are_those_of_the_run(run):
    """Funnel, histograms and sample against scores.parquet, counted by hand."""
    import pyarrow.parquet as pq

    table = pq.read_table(run / "scores.parquet").to_pydict()
    html = (run / "report.html").read_bytes()
    kept = sum(table["kept"])
    assert f"<strong>{kept}</strong> of {len(table['kept'])} records kept".encode() in html
    charts = {chart["id"]: chart for chart in data_of(html, "charts")}
    reached = [s in (None, "coherent") for s in table["step"]]
    for chart, step, here in (
        ("scores-0", "sane", [True] * len(reached)),
        ("scores-1", "coherent", reached),
    ):
        bars = charts[chart]["spec"]["data"]["values"]
        lost = sum(s == step for s in table["step"])
        assert sum(b["count"] for b in bars if b["outcome"] == "rejected here") == lost
        assert sum(b["count"] for b in bars) == sum(here)
        for bar in bars:
            name = {"sane": "sane.length", "coherent": "coherent.rmi"}[step]
            inside = [
                value
                for value, there, by in zip(table[name], here, table["step"], strict=True)
                if there
                and bar["low"] <= value <= bar["high"]
                and (by == step) == (bar["outcome"] == "rejected here")
            ]
            assert len(inside) >= bar["count"] > 0  # a value on an edge is in one of two bars
    sample = data_of(html, "sample")
    assert sample["rows"] == list(range(len(table["id"])))
    assert sample["labels"] == table["id"]
    fates = [sample["fates"][fate] for fate in sample["fate"]]
    expected = [
        "kept" if kept else f"{step}: {reason}"
        for kept, step, reason in zip(table["kept"], table["step"], table["reason"], strict=True)
    ]
    assert fates == expected
    assert sample["columns"]["coherent.rmi"] == [
        None if v is None else pytest.approx(v, rel=1e-5) for v in table["coherent.rmi"]
    ]


def test_a_run_that_is_read_back_is_the_run(run):
    with reopened(run, load_plugins()) as found:
        again = found.run
        assert again.report.kept == int(again.kept.sum())
        assert [part.records for part in again.parts] == [again.records] == [8]
        assert {row: record.query for row, record in found.records([6, 1]).items()} == {
            1: "reverse a string",
            6: "square every item of a list",
        }
        assert found.row_of(found.records([6])[6].id) == 6
        with pytest.raises(qaqfilter.UsageError, match=r"no record of .* is called 'nobody'"):
            found.row_of("nobody")


def test_another_plugin_than_the_run_had_is_said(run):
    manifest = json.loads((run / "manifest.json").read_bytes())
    manifest["steps"][0]["kept"] -= 1
    (run / "manifest.json").write_text(json.dumps(manifest))
    with (
        pytest.raises(RunDirectoryError, match="step 'sane' of the run"),
        reopened(run, load_plugins()),
    ):
        pass


def test_none_and_unknown_and_of_the_user(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    with pytest.raises(RecipeError, match=r"output.pages: no page is called 'rebort'; did"):
        qaqfilter.run(recipe, overrides=["output.pages=[rebort]"])
    mine = tmp_path / "out" / "report.html"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"keep it with --set output\.pages=\[\]"):
        qaqfilter.run(recipe)
    qaqfilter.run(recipe, overrides=["output.pages=[]"])
    assert mine.read_text() == "mine"
    qaqfilter.run(recipe, replace=True)
    assert mine.read_text() != "mine"
    qaqfilter.run(recipe, overrides=["output.pages=[]"], replace=True)
    assert not mine.exists()  # it was the run's, and the new one has none


def test_a_page_that_fails_is_named_and_leaves_what_was_there(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "from qaqfilter import Component, Options, hookimpl\n"
        "class Broken:\n"
        "    def wanted(self, run): return [0]\n"
        "    def html(self, run, records): return records[1]\n"
        "@hookimpl\n"
        "def qaqfilter_pages():\n"
        "    yield Component('broken', Options, lambda config: Broken(), 'breaks')\n"
    )
    with pytest.raises(PluginError, match=r"'broken' \(.*\) failed: KeyError: 1; a run without"):
        qaqfilter.run(recipe, overrides=["output.pages=[broken]"], plugins=[plugin], replace=True)
    assert visible(tmp_path / "out") == before


def test_a_score_run_and_a_selection_have_one(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    qaqfilter.score_recipe(recipe)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "This run only scored" in page
    qaqfilter.select_recipe(recipe)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "This run only scored" not in page


def test_conversations_and_records_without_a_score(tmp_path, write_recipe):
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}] * 2}
        for q, a in (("one", "1"), ("two", "22"), ("three", "333"), ("", "4444"))
    ]
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = write_recipe(STEPS.replace("17", "1"))
    qaqfilter.run(
        recipe,
        overrides=[
            f"input.path={tmp_path / 'talk.jsonl'}",
            "input.turns=each",
            "input.layout=messages",
        ],
        replace=True,
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "333" in page


def test_nothing_to_show(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    (tmp_path / "empty.jsonl").write_text("")
    report = qaqfilter.run(recipe, overrides=[f"input.path={tmp_path / 'empty.jsonl'}"])
    assert report.read == 0
    assert "of 0 records kept" in (tmp_path / "out" / "report.html").read_text()


# --- size -------------------------------------------------------------------------------


def test_a_large_run_of_long_texts_is_a_small_file():
    html = report_of(made(300_000))
    assert len(html) < 5_000_000
    assert len(data_of(html, "sample")["rows"]) == SAMPLED
    assert b"2\xe2\x80\xaf000 of the 300\xe2\x80\xaf000 records, drawn at random" in html
    for chart in data_of(html, "charts"):
        if chart["id"].startswith("scores-0"):
            assert sum(b["count"] for b in chart["spec"]["data"]["values"]) == 300_000


@pytest.mark.parametrize("nasty", ["\x00\u202e", '<>&"', "+-" * 5, "\ud800"])
def test_text_that_swells_as_markup_is_cut_shorter(nasty):
    run = made(3000)
    page = ReportPage()
    text = (nasty * 20_000)[:20_000]
    records = {
        row: replace(record(row), query=text, answer=f"def f():\n{text}", id=text[:500])
        for row in page.wanted(run)
    }
    html = page.html(run, records)
    assert len(html) < 5_000_000
    assert b"cut here" in html


# --- what is chosen ---------------------------------------------------------------------


def test_the_records_that_tell_most_are_chosen():
    run = made(5000)
    values = run.numbers("ifd.ifd_ppl")
    found = {(e.step, e.title): e.rows for e in choose(run).examples}
    assert found[0, "the highest scores"] == np.argsort(-values)[:3].tolist()
    assert found[0, "the lowest scores"] == np.argsort(values)[:3].tolist()
    near = found[2, "rejected by the least"]
    lost = np.flatnonzero(run.fates.step == 2)
    distance = np.abs(run.fates.value[lost] - run.fates.bound[lost])
    assert near == lost[np.argsort(distance, kind="stable")[:3]].tolist()
    assert choose(run).sample.tolist() == choose(run).sample.tolist()


def test_ties_and_infinities_are_chosen_in_stream_order():
    run = made(100)
    values = run.numbers("ifd.ifd_ppl")
    values[:] = 1.0
    values[[7, 9]] = np.inf, np.nan
    found = {(e.step, e.title): e.rows for e in choose(run).examples}
    assert found[0, "the highest scores"] == [0, 1, 2]
    assert found[0, "no score"] == [9]


# --- bins -------------------------------------------------------------------------------


def test_bins_count_every_value_and_fold_far_tails():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(size=10_000), [1e6, np.nan, -np.inf, np.inf]])
    bins = bins_for(values)
    assert sum(bins.counts(values)) == 10_003
    assert -5 < bins.edges[0] < bins.edges[-1] < 5
    assert bins.beyond == int(((values < bins.edges[0]) | (values > bins.edges[-1])).sum()) > 2
    few = np.array([1.0, 2.0, 3.0])
    assert bins_for(few).beyond == 0
    assert bins_for(few).edges[[0, -1]].tolist() == [1, 3]


@pytest.mark.parametrize("values", [[2.0] * 9, [0.0], [1e300, 1e300]])
def test_one_value_has_bins_around_it(values):
    bins = bins_for(np.array(values))
    assert sum(bins.counts(np.array(values))) == len(values)
    assert bins.edges[0] < values[0] < bins.edges[-1]
    assert bins_for(np.array([np.nan, np.inf])) is None


# --- agreement --------------------------------------------------------------------------


def test_agreement_is_spearmans():
    first, second = np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 6, 7, 8, 7])
    assert spearman(first, second) == pytest.approx(0.8207826816681233)  # a textbook's example
    assert spearman(first, -first) == pytest.approx(-1)
    assert spearman(first, np.ones(5)) is None
    found = {(a.first, a.second): a for a in agreements(made(20_000))}
    assert set(found) == {("ifd", "rmi"), ("ifd", "qaq"), ("rmi", "qaq")}
    assert abs(found["ifd", "rmi"].rank) < 0.05
    assert found["ifd", "rmi"].records == 20_000


# --- warnings ---------------------------------------------------------------------------


def said(run) -> str:
    """Every finding of a run."""
    of_steps = [finding for _, some in sections(run, choose(run)) for finding in some]
    return "\n".join(finding.text for finding in [*findings.of_run(run), *of_steps])


def test_a_clean_run_has_no_warning():
    assert said(made(5000)) == ""


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda v: np.where(np.arange(len(v)) % 10 == 0, np.nan, v),
            "500 of 5 000 records (10 %) have no score",
        ),
        (
            lambda v: np.where(np.arange(len(v)) % 4 == 0, 1.0, v),
            "1 250 records (25 %) have the same score, 1",
        ),
        (lambda v: v + 1, "100 % of the scores are above 1"),
    ],
)
def test_scores_that_look_wrong(spoil, sentence):
    run = made(5000)
    run.columns.numbers["ifd.ifd_ppl"] = spoil(run.numbers("ifd.ifd_ppl"))
    assert sentence in said(run).replace("\u202f", " ")


def test_small_strata_and_bad_records_and_ids():
    run = made(200)
    report = replace(run.report, quarantined=3, duplicate_ids=2, read=203)
    words = said(replace(run, report=report))
    assert "10 of its 10 strata have fewer than 30 records (the smallest 16)" in words
    assert "3 of 203 records are bad" in words
    assert "2 ids stand more than once" in words


def test_records_with_the_same_likelihoods():
    run = made(1000)
    for name, column in run.columns.likelihoods.items():
        logprob = column.logprob.copy()
        logprob[500:600] = logprob[:100]
        run.columns.likelihoods[name] = LikelihoodColumn(logprob, column.tokens, column.status)
    assert "100 records (10 %) have to the last digit the likelihoods of an earlier" in said(run)


def test_a_source_that_loses_far_more():
    run = made(3000)
    parts = (Part("good.jsonl", 2000, 0), Part("bad.jsonl", 1000, 0))
    fates = run.fates
    fates.step[2000:] = np.where(np.arange(1000) % 20 == 0, fates.step[2000:], 0)
    words = said(replace(run, parts=parts, fates=fates))
    assert re.search(r"Of bad\.jsonl, [\d.]+ % of 1.000 records are kept; of all others", words)
    assert "good.jsonl," not in words


def test_cut_answers_and_a_step_that_keeps_nothing():
    run = made(100)
    run.columns.numbers["strong.cut"] = np.where(np.arange(100) < 4, 7.0, 0.0)
    steps = (*run.report.steps[:2], replace(run.report.steps[2], kept=0))
    words = said(replace(run, report=replace(run.report, steps=steps)))
    assert "4 answers were longer than strong can read" in words
    assert "Step qaq keeps none of its" in words


# --- text -------------------------------------------------------------------------------


def test_code_is_highlighted_and_nothing_is_markup():
    assert '<span class="k">def</span>' in highlighted("def f(x):\n    return x")
    assert highlighted("a < b & c") == "a &lt; b &amp; c"
    fenced = highlighted("See:\n```js\nlet a = '</script>';\n```\nand <b>")
    assert "</script>" not in fenced
    assert "&lt;b&gt;" in fenced
    assert '<span class="kd">let</span>' in fenced
    assert highlighted("```nosuchlanguage\n<i>\n```") == "```nosuchlanguage\n&lt;i&gt;\n```"
    assert seen("a\u202eb\x1b") == (
        'a<span class="unseen">U+202E</span>b<span class="unseen">U+001B</span>'
    )
    assert "U+200B" in highlighted("def f():\n    x\u200b = 1")


# --- calibration ------------------------------------------------------------------------


def test_a_calibration_is_shown_and_a_bad_one_is_said(tmp_path, write_recipe, command):
    recipe = write_recipe(STEPS)
    qaqfilter.run(recipe)
    assert command("calibrate", str(recipe), "-n", "8", "--damage", "swapped")[0] == 0
    run = tmp_path / "out"
    assert command("report", str(run))[0] == 0
    page = (run / "report.html").read_text()
    data = json.loads((run / "calibration.json").read_bytes())
    caught = data["chain_catches"][0]["caught"]
    assert 'id="calibration"' in page
    assert f"{100 * caught:.0f} %" in page.split('id="calibration"')[1]
    assert "The recipe has changed since" not in page
    assert qaqfilter.run(recipe, overrides=["steps.sane.keep.min=1"], replace=True)
    page = (run / "report.html").read_text()
    assert "steps.sane.keep.min: 17.0 -&gt; 1.0" in page
    (run / "calibration.json").write_text('{"format": 1, "steps": "<script>"}')
    said_ = Said()
    qaqfilter.run(recipe, replace=True, observer=said_)
    page = (run / "report.html").read_text()
    assert "calibration.json cannot be shown" in page
    assert 'id="calibration"' not in page


def test_columns_of_a_part_that_nobody_scored_are_no_trouble():
    run = made(50)
    empty = Columns(50)
    html = report_of(replace(run, columns=empty))
    assert b'id="charts"' not in html
    assert b"vegaEmbed" not in html


def test_heatmaps_of_some_records(run, command):
    """Those drawn at random come first; the model is opened once, and the sums are the run's."""
    plain = (run / "report.html").read_text()
    assert 'class="heat"' not in plain
    code, _, err = command("report", str(run), "--heatmaps", "3")
    assert code == 0, err
    page = (run / "report.html").read_text()
    assert page.count("What the words explain, by toy") == 3
    assert page.count('<p id="legend">') == 1
    with reopened(run, load_plugins()) as found:
        assert ReportPage().first(found.run, 3) == choose(found.run).calm[:3]
