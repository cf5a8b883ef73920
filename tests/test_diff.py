"""Two runs beside one another: counts by hand, matching, what is shown and written."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

import qaqfilter
from conftest import PAIRS
from qaqfilter.cli import run_cli
from qaqfilter.manager import load_plugins
from qaqfilter.reopening import reopened
from qaqfilter_report.comparing import MOST_SHARES, chance, compare
from qaqfilter_report.matching import match
from s3_server import forget, s3_server


def flat(text: str) -> str:
    """Printed text without the line ends that the terminal's width puts into it."""
    return " ".join(text.split())


STEPS = """
  - {id: sane, use: length, of: answer, keep: {min: 17}}
  - {id: coherent, use: rmi, keep: {fraction: 0.5}}
"""


@pytest.fixture
def command(capsys):
    """Run a verb: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_cli([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def two(tmp_path, write_recipe):
    """Two runs over the same records: other bounds, another share."""
    recipe = write_recipe(STEPS)
    for name, changes in (
        ("one", []),
        ("two", ["steps.sane.keep.min=20", "steps.coherent.keep={fraction: 0.6, invert: true}"]),
    ):
        qaqfilter.run(recipe, overrides=[f"output.path={tmp_path / name}", *changes])
    return tmp_path / "one", tmp_path / "two"


def kept(folder) -> dict[str, dict]:
    """The records that a run keeps and those that it rejects, by query, from its own files."""
    found = {}
    for line in (folder / "kept.jsonl").read_text().splitlines():
        found[json.loads(line)["query"]] = None
    for line in (folder / "rejected.jsonl").read_text().splitlines():
        row = json.loads(line)
        found[row["record"]["query"]] = (row["step"], row["reason"])
    return found


def test_counts_are_those_of_the_files(two, command):
    one, other = map(kept, two)
    code, out, _ = command("diff", *two, "--json")
    assert code == 0
    data = json.loads(out)
    both = [q for q in one if one[q] is None and other[q] is None]
    alone = [q for q in one if one[q] is None and other[q] is not None]
    theirs = [q for q in one if one[q] is not None and other[q] is None]
    assert alone
    assert theirs
    assert (data["both"], data["only_first"], data["only_second"]) == (
        len(both),
        len(alone),
        len(theirs),
    )
    assert data["neither"] == len(PAIRS) - len(both) - len(alone) - len(theirs)
    assert data["overlap"] == len(both) / (len(both) + len(alone) + len(theirs))
    sizes = len(both) + len(alone), len(both) + len(theirs)
    assert data["by_chance"] == sizes[0] * sizes[1] / len(PAIRS)
    for name, rows, run in (("second", alone, other), ("first", theirs, one)):
        lost = {(x["step"], x["reason"]): x["records"] for x in data[f"lost_by_{name}"]}
        reasons = [run[q] for q in rows]
        assert lost == {reason: reasons.count(reason) for reason in reasons}
    assert data["changed"] == [
        "steps.sane.keep.min: 17.0 -> 20.0",
        "steps.coherent.keep.fraction: 0.5 -> 0.6",
        "steps.coherent.keep.invert: false -> true",
    ]
    scores = {score["column"]: score for score in data["scores"]}
    assert scores["sane.length"] == {
        "column": "sane.length",
        "judged": True,
        "records": 8,
        "only_first": 0,
        "only_second": 0,
        "rank": 1,
        "shift": 0,
        "largest": 0,
        "changed": 0,
    }
    assert data["shares"] == [
        {
            "of": "part",
            "by": "",
            "size": 1,
            "shares": [{"name": "data.jsonl", "records": 8, "first": sizes[0], "second": sizes[1]}],
        }
    ]
    flows = {(flow["first"], flow["second"]): flow["records"] for flow in data["flows"]}
    ends = [tuple(run[q] and run[q][0] for run in (one, other)) for q in one]
    assert flows == {end: ends.count(end) for end in ends}


def test_the_terminal_and_the_page_say_the_same(two, command, tmp_path):
    code, out, _ = command("diff", *two)
    assert code == 0
    assert "8 records are in both (the same input)." in out
    assert "steps.sane.keep.min: 17.0 -> 20.0" in out
    one, other = map(kept, two)
    alone = [q for q in one if one[q] is None and other[q] is not None]
    assert any(f"  query  {query} " in out for query in alone)
    assert max(map(len, out.splitlines()[2:])) <= 80  # after the names of the folders
    assert "\x1b" not in out
    code, out, _ = command("diff", *two, "-n", 8, "--html", tmp_path / "d.html")
    assert (code, out) == (0, f"written: {tmp_path / 'd.html'}\n")
    page = (tmp_path / "d.html").read_text()
    assert "8 records are in both (the same input)." in page
    assert "script-src &#39;none&#39;" in page
    assert all(query in page for query in alone)


def test_records_of_another_input_are_matched_by_id(tmp_path, command):
    rows = [{"id": f"r{n}", "query": q, "answer": a} for n, (q, a) in enumerate(PAIRS)]
    for name, some in (("one", rows[:6]), ("two", rows[:1:-1])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        (tmp_path / f"{name}.yaml").write_text(
            f"version: 1\nname: {name}\ninput: {{use: jsonl, path: {name}.jsonl}}\n"
            "steps: [{id: size, use: length, of: answer, keep: {min: %d}}]\n"
            f"output: {{use: jsonl, path: {name}}}\n" % {"one": 1, "two": 36}[name]
        )
        qaqfilter.run(tmp_path / f"{name}.yaml")
    code, out, _ = command("diff", tmp_path / "one", tmp_path / "two", "--json")
    data = json.loads(out)
    assert (code, data["matched_by"]) == (0, "id")
    assert data["matched"] == 4
    assert data["unmatched_first"] == {"records": 2, "kept": 2, "ids": ["r0", "r1"]}
    size = [len(row["answer"]) >= 36 for row in rows[6:]]
    assert data["unmatched_second"] == {"records": 2, "kept": sum(size), "ids": ["r7", "r6"]}
    assert data["notes"] == [
        "The second run read another input: two.jsonl is new (6 records); one.jsonl is gone "
        "(6 records)."
    ]
    long = [row["id"] for row in rows[2:6] if len(row["answer"]) >= 36]
    assert (data["both"], data["only_first"]) == (len(long), 4 - len(long))
    assert 0 < len(long) < 4
    with (
        reopened(tmp_path / "one", load_plugins()) as one,
        reopened(tmp_path / "two", load_plugins()) as two,
    ):
        pairs = match(one, two)
        texts = one.records(pairs.first), two.records(pairs.second)
        for a, b in zip(pairs.first, pairs.second, strict=True):
            assert texts[0][a].id == texts[1][b].id
        assert compare(one, two, pairs).only_second == 0
    code, out, err = command(
        "diff", tmp_path / "one", tmp_path / "two", "--ids", tmp_path / "ids", "-n", 0
    )
    assert "2 are in the first alone, which keeps 2 of them; they are not compared:" in flat(out)
    assert err == f"written: {tmp_path / 'ids'}\n"
    assert (tmp_path / "ids").read_text().splitlines() == [
        "id\tfirst\tsecond",
        *(f"{r['id']}\tkept\tabsent" for r in rows[:2]),
        *(f"{r['id']}\tkept\trejected" for r in rows[2:6] if r["id"] not in long),
        *(
            f"{r['id']}\tabsent\tkept"
            for r, enough in zip(rows[:5:-1], size[::-1], strict=True)
            if enough
        ),
    ]


def test_nothing_in_common_and_no_run(tmp_path, two, command):
    (tmp_path / "else.jsonl").write_text('{"id": "x", "query": "q", "answer": "some answer"}\n')
    recipe = tmp_path / "recipe.yaml"
    qaqfilter.run(
        recipe,
        overrides=[f"input.path={tmp_path / 'else.jsonl'}", f"output.path={tmp_path / 'else'}"],
    )
    code, _, err = command("diff", two[0], tmp_path / "else")
    assert code == 2
    assert "these runs cannot be compared" in err
    code, _, err = command("diff", two[0], tmp_path / "nowhere")
    assert code == 1
    assert "there is no finished run" in err


def test_the_same_run_twice(two, command, tmp_path):
    code, out, _ = command("diff", two[0], two[0])
    assert code == 0
    assert "Both keep the same" in out
    assert "the recipes are the same" in out
    assert "alone (0)" not in out
    assert "at random" not in out
    code, _, _ = command("diff", two[0], two[0], "--ids", tmp_path / "ids", "-n", 0)
    assert (code, (tmp_path / "ids").read_text()) == (0, "id\tfirst\tsecond\n")


def test_hostile_text(tmp_path, command, write_recipe):
    nasty = "\x1b[2J</pre><script>alert(1)</script>\u202e"
    pairs = [(f"{nasty} query {n}", f"answer {nasty} {'x' * n}") for n in range(8)]
    recipe = write_recipe(STEPS.replace("17", "1"), pairs=pairs)
    for name, share in (("one", 0.5), ("two", 0.25)):
        qaqfilter.run(
            recipe,
            overrides=[f"output.path={tmp_path / name}", f"steps.coherent.keep.fraction={share}"],
        )
    code, out, _ = command("diff", tmp_path / "one", tmp_path / "two")
    assert code == 0
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "<script>alert(1)" in out
    command("diff", tmp_path / "one", tmp_path / "two", "--html", tmp_path / "d.html")
    page = (tmp_path / "d.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page
    assert "U+202E" in page


def test_examples_are_of_the_right_side(two):
    from qaqfilter_report.examples import examples

    manager = load_plugins()
    with reopened(two[0], manager) as one, reopened(two[1], manager) as other:
        pairs = match(one, other)
        found = examples(one, other, pairs, 2)
        for direction, shown in enumerate((found.first, found.second)):
            rows = [example.first.card.row for example in [*shown.drawn, *shown.clearest]]
            assert len(set(rows)) == len(rows) > 0
            for example in [*shown.drawn, *shown.clearest]:
                assert example.first.card.kept is (direction == 0)
                assert example.second.card.kept is (direction == 1)
                assert example.lost.rejection is not None
        alone = one.run.kept & ~other.run.kept
        found = examples(one, other, pairs, 100)
        assert [e.first.card.row for e in found.first.drawn] == np.flatnonzero(alone).tolist()
        assert list(found.first.clearest) == []  # all are there already


def test_the_clearest_are_the_farthest_behind_the_bound(tmp_path, write_recipe):
    from qaqfilter_report.examples import examples

    pairs = [(f"query {n}", "x" * (10 + n * n)) for n in range(12)]
    recipe = write_recipe("  - {id: size, use: length, of: answer, keep: {min: 1}}", pairs=pairs)
    for name, bound in (("one", 1), ("two", 90)):
        changes = [f"output.path={tmp_path / name}", f"steps.size.keep.min={bound}"]
        qaqfilter.run(recipe, overrides=changes)
    manager = load_plugins()
    with reopened(tmp_path / "one", manager) as one, reopened(tmp_path / "two", manager) as other:
        found = examples(one, other, match(one, other), 3).first
    drawn, clearest = (
        [int(example.record.query.split()[1]) for example in some]
        for some in (found.drawn, found.clearest)
    )
    assert len(drawn) == 3
    assert clearest == [n for n in range(9) if n not in drawn][:3]


def test_ranks_of_many_are_those_of_some():
    from qaqfilter_report.agreement import MOST, spearman
    from qaqfilter_report.diff_numbers import _rank

    rng = np.random.default_rng(0)
    one = rng.normal(size=MOST + 50_000)
    other = one + rng.normal(size=len(one))
    assert _rank(one, other, 1) == pytest.approx(spearman(one, other), abs=0.01)
    assert _rank(one, other, 1) != spearman(one, other)
    assert _rank(one[:2], other[:2], 2) is None
    assert _rank(np.ones(5), np.ones(5), 0) is None


# --- agreement by chance ----------------------------------------------------------------


def test_chance_is_that_of_draws():
    """Against the mean and the spread of draws that are really made, and by hand."""
    assert chance(4, 2, 2) == (
        1,
        pytest.approx((1 / 3) ** 0.5),
    )  # of 6 draws: 1 of 0, 4 of 1, 1 of 2
    rng = np.random.default_rng(0)
    shared = [len(np.intersect1d(rng.permutation(50)[:20], range(30))) for _ in range(20_000)]
    mean, deviation = chance(50, 20, 30)
    assert np.mean(shared) == pytest.approx(mean, abs=0.06)
    assert np.std(shared) == pytest.approx(deviation, rel=0.03)
    assert chance(0, 0, 0) == (0, 0)
    assert chance(1, 1, 1) == (1, 0)
    assert chance(9, 9, 4) == (4, 0)


# --- groups, likelihoods, models --------------------------------------------------------


GROUPED = """
  - {id: size, use: length, of: answer, keep: {min: 20}}
  - {id: easy, use: perplexity, of: answer, keep: {fraction: 0.5}, group: source}
"""


@pytest.fixture
def grouped(tmp_path, write_recipe):
    """Two runs over two files of two sources, by models that differ; the first groups."""
    recipe = write_recipe(GROUPED)
    text = recipe.read_text().replace("data.jsonl", "data-*.jsonl")
    recipe.write_text(text)
    for part in (0, 1):
        rows = [
            {"query": q, "answer": a, "source": ("books", "web")[n % 2]}
            for n, (q, a) in enumerate(PAIRS)
        ][part * 4 :][:4]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"data-{part}.jsonl").write_text(lines)
    qaqfilter.run(recipe, overrides=[f"output.path={tmp_path / 'one'}"])
    changes = ["models.toy.order=1", "steps.easy.group=null", "steps.size.keep.min=36"]
    qaqfilter.run(recipe, overrides=[f"output.path={tmp_path / 'two'}", *changes])
    return tmp_path / "one", tmp_path / "two"


def columns(folder) -> dict[str, list]:
    return pq.read_table(folder / "scores.parquet").to_pydict()


def test_groups_and_parts_are_counted(grouped, command):
    code, out, _ = command("diff", *grouped, "--json")
    assert code == 0
    one, other = map(columns, grouped)
    shares = {(it["of"], it["by"]): it for it in json.loads(out)["shares"]}
    assert set(shares) == {("part", ""), ("group", "source")}
    for key, names in (
        (("part", ""), one["part"]),
        (("group", "source"), one["easy.group"]),
    ):
        found = {it["name"]: it for it in shares[key]["shares"]}
        assert shares[key]["size"] == 2
        assert set(found) == {name for name in names if name is not None}
        for name, share in found.items():
            here = [n for n, of in enumerate(names) if of == name]
            assert share["records"] == len(here)
            assert share["first"] == sum(one["kept"][n] for n in here)
            assert share["second"] == sum(other["kept"][n] for n in here)
    code, out, _ = command("diff", *grouped)
    assert "kept of each group by source\n" in out
    assert "kept of each part of the input\n" in out
    assert "│ web " in out


def test_scores_lengths_and_models(grouped, command):
    data = json.loads(command("diff", *grouped, "--json")[1])
    one, other = map(columns, grouped)
    name = "toy.answer"
    scored = [
        n
        for n in range(len(PAIRS))
        if one[f"{name}.missing"][n] is None and other[f"{name}.missing"][n] is None
    ]
    nll = [
        np.array([-run[f"{name}.logprob"][n] / run[f"{name}.tokens"][n] for n in scored])
        for run in (one, other)
    ]
    found = {score["column"]: score for score in data["scores"]}[name]
    assert found["records"] == len(scored) > 2
    assert found["only_first"] == sum(why is None for why in one[f"{name}.missing"]) - len(scored)
    assert found["only_first"] > 0 == found["only_second"]
    assert found["shift"] == pytest.approx(float((nll[1] - nll[0]).mean()))
    assert abs(found["largest"]) == pytest.approx(float(np.abs(nll[1] - nll[0]).max()))
    assert found["changed"] == len(scored)
    ranks = [np.argsort(np.argsort(values)) for values in nll]
    assert found["rank"] == pytest.approx(float(np.corrcoef(*ranks)[0, 1]))
    assert not found["judged"]

    (length,) = data["lengths"]
    tokens = [n or None for n in one[f"{name}.tokens"]]
    kept = list(zip(one["kept"], other["kept"], strict=True))
    assert (length["side"], length["view"]) == ("answer", "toy")
    assert length["known"] == sum(n is not None for n in tokens)
    for kind, who in (
        ("both", (True, True)),
        ("only_first", (True, False)),
        ("only_second", (False, True)),
        ("neither", (False, False)),
    ):
        some = [n for n, of in zip(tokens, kept, strict=True) if of == who and n is not None]
        assert length[kind] == (float(np.median(some)) if some else None)

    (pair,) = data["models"]
    manifests = [json.loads((run / "manifest.json").read_bytes()) for run in grouped]
    assert pair["name"] == "toy"
    assert pair["same"] is False
    assert len(pair["changed"]) > 0
    assert any("order" in key for key in pair["changed"])
    for side, manifest in zip(("first", "second"), manifests, strict=True):
        models = manifest["models"]
        assert pair[side]["fingerprint"] == models[0]["fingerprint"]
        assert pair[side]["tokens"] == sum(model["cost"]["computed"] for model in models) > 0
    _, out, _ = command("diff", *grouped)
    assert "toy is another model in the second run:" in out


def test_the_largest_differences_are_listed_and_nobody_is_asked_of_an_empty_run(
    tmp_path, write_recipe, command
):
    """More groups than are listed; and a run without a record is compared with itself."""
    pairs = [(f"q {n}", "x" * (n % 50 + 1)) for n in range(300)]
    recipe = write_recipe(
        "  - {id: size, use: length, of: answer, group: query, keep: {top: 300}}", pairs=pairs
    )
    for name, top in (("one", 300), ("two", 12)):
        changes = [f"output.path={tmp_path / name}", f"steps.size.keep.top={top}"]
        qaqfilter.run(recipe, overrides=changes)
    _, out, _ = command("diff", tmp_path / "one", tmp_path / "two", "--json")
    groups = json.loads(out)["shares"][1]
    assert (groups["by"], groups["size"], len(groups["shares"])) == ("query", 300, MOST_SHARES)
    assert all((it["first"], it["second"]) == (1, 0) for it in groups["shares"])
    (tmp_path / "data.jsonl").write_text("")
    empty = ["input.layout=query_answer", f"output.path={tmp_path / 'none'}"]
    qaqfilter.run(recipe, overrides=empty)
    code, out, _ = command("diff", tmp_path / "none", tmp_path / "none")
    assert (code, "0 records are in both (the same input)." in out) == (0, True)
    code, _, _ = command("diff", tmp_path / "none", tmp_path / "none", "--html", tmp_path / "d")
    assert code == 0
    code, _, err = command("diff", tmp_path / "none", tmp_path / "one")
    assert (code, "these runs cannot be compared" in err) == (2, True)


@pytest.mark.parametrize("width", ["40", "80"])
def test_nothing_is_wider_than_the_terminal(grouped, command, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    _, out, _ = command("diff", *grouped)
    lines = [
        line
        for line in out.splitlines()
        # What is to be copied is left to the terminal to fold: folders, keys, ids.
        if not re.search(r"^(first|second): | -> |#\d+\)$", line)
    ]
    assert max(map(len, lines)) <= int(width)


def test_what_one_run_has_not_scored_is_as_long_as_in_the_other(tmp_path, write_recipe, command):
    """Each run has scored some records alone; by one tokenizer their lengths are comparable."""
    recipe = write_recipe(
        "  - {id: size, use: length, of: answer, keep: {min: 37}}\n"
        "  - {id: easy, use: perplexity, of: answer}\n"
    )
    qaqfilter.run(recipe, overrides=[f"output.path={tmp_path / 'one'}"])
    turned = ["steps.size.keep.invert=true", f"output.path={tmp_path / 'two'}"]
    qaqfilter.run(recipe, overrides=turned)
    (length,) = json.loads(command("diff", tmp_path / "one", tmp_path / "two", "--json")[1])[
        "lengths"
    ]
    one, other = columns(tmp_path / "one"), columns(tmp_path / "two")
    longer = [n for n, kept in zip(one["toy.answer.tokens"], one["kept"], strict=True) if kept]
    shorter = [n for n, kept in zip(other["toy.answer.tokens"], other["kept"], strict=True) if kept]
    assert length["known"] == 8 == len(longer) + len(shorter)
    assert length["only_first"] == np.median(longer) > length["only_second"] == np.median(shorter)


# --- other kinds of runs ----------------------------------------------------------------


def test_runs_that_only_scored_and_limits(tmp_path, write_recipe, command):
    recipe = write_recipe(STEPS)
    qaqfilter.score_recipe(recipe, overrides=[f"output.path={tmp_path / 'one'}"])
    qaqfilter.run(recipe, overrides=[f"output.path={tmp_path / 'two'}"], limit=5)
    _, out, _ = command("diff", tmp_path / "one", tmp_path / "two", "--json")
    data = json.loads(out)
    assert (data["matched"], data["matched_by"]) == (5, "id")
    assert (data["unmatched_first"]["records"], data["unmatched_second"]["records"]) == (3, 0)
    assert data["notes"][:2] == [
        "The first run only scored: what it keeps is what `select` would write.",
        "The first run was made with no limit, the second with --limit 5.",
    ]
    assert sum(data[n] for n in ("both", "only_first", "only_second", "neither")) == 5


def test_conversations(tmp_path, write_recipe, command):
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}] * 2}
        for q, a in PAIRS
    ]
    recipe = write_recipe(STEPS)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    each = ["input.layout=messages", "input.turns=each"]
    for name, more in (("one", []), ("two", ["steps.coherent.keep.invert=true"])):
        qaqfilter.run(recipe, overrides=[f"output.path={tmp_path / name}", *each, *more])
    code, out, _ = command("diff", tmp_path / "one", tmp_path / "two")
    assert code == 0
    assert "after 2 earlier turns" in flat(out)
    _, out, _ = command("diff", tmp_path / "one", tmp_path / "two", "--json")
    data = json.loads(out)
    first = data["examples"]["first"]["drawn"][0]
    assert first["earlier_turns"] == 2
    tokens = columns(tmp_path / "one")["toy.query.tokens"]  # a list: one an exchange
    (length,) = [it for it in data["lengths"] if it["side"] == "query"]
    kept = [columns(tmp_path / name)["kept"] for name in ("one", "two")]
    alone = [sum(n) for n, a, b in zip(tokens, *kept, strict=True) if a and not b]
    assert length["only_first"] == np.median(alone)


def test_at_addresses(tmp_path, write_recipe, command, monkeypatch):
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path / "cache"))
    recipe = write_recipe(STEPS)
    with s3_server():
        forget()
        for name, share in (("one", 0.5), ("two", 0.25)):
            changes = [f"output.path=s3://bucket/{name}", f"steps.coherent.keep.fraction={share}"]
            qaqfilter.run(recipe, overrides=changes)
        code, out, err = command("diff", "s3://bucket/one", "s3://bucket/two")
        assert (code, "error" in err) == (0, False)
        assert "first:  s3://bucket/one" in out
        assert "steps.coherent.keep.fraction: 0.5 -> 0.25" in out
        forget()


# --- texts ------------------------------------------------------------------------------


def test_one_id_and_another_text(tmp_path, command):
    """Numbers as ids are in every data set: the records are not the same for that."""
    for name, more in (("one", ""), ("two", " of another text")):
        rows = [{"id": f"{n}", "query": q + more, "answer": a} for n, (q, a) in enumerate(PAIRS)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        bounds = {"one": "max: 36", "two": "min: 36"}[name]
        (tmp_path / f"{name}.yaml").write_text(
            f"version: 1\nname: {name}\ninput: {{use: jsonl, path: {name}.jsonl}}\n"
            f"steps: [{{id: size, use: length, of: answer, keep: {{{bounds}}}}}]\n"
            f"output: {{use: jsonl, path: {name}}}\n"
        )
        qaqfilter.run(tmp_path / f"{name}.yaml")
    code, out, _ = command("diff", tmp_path / "one", tmp_path / "two")
    assert code == 0
    assert "8 have another text in the second: these are not the same records." in flat(out)
    assert re.search(r"^  query +add two numbers +$", out, re.MULTILINE)
    assert "second's query add two numbers of another text" in flat(out)
    command("diff", tmp_path / "one", tmp_path / "two", "--html", tmp_path / "d.html")
    page = (tmp_path / "d.html").read_text()
    assert "The second run read another text by this id." in page
    assert "<h4>second run&#39;s query</h4>" in page


def test_the_same_input_elsewhere(tmp_path, two, command):
    """What counts is what was read; the second run's file need not be there any more."""
    data = next(tmp_path.glob("*.jsonl"))
    copy = data.rename(tmp_path / "copy.jsonl")
    recipe = tmp_path / "recipe.yaml"
    qaqfilter.run(recipe, overrides=[f"input.path={copy}", f"output.path={tmp_path / 'three'}"])
    code, out, _ = command("diff", tmp_path / "three", two[1])
    assert code == 0
    assert "8 records are in both (the same input)." in out
    code, out, err = command("diff", two[1], tmp_path / "three")
    assert (code, out) == (1, "")
    assert "-n 0" in err
    code, out, _ = command("diff", two[1], tmp_path / "three", "-n", 0)
    assert code == 0
    assert "Of those that either keeps" in out


def test_ids_that_stand_twice_are_matched_once(tmp_path, command):
    rows = [{"id": i, "query": "q", "answer": "x" * n} for n, i in enumerate(("a", "a", "a#2"), 1)]
    for name, some in (("one", rows), ("two", [*rows, rows[0] | {"id": "b"}])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        (tmp_path / f"{name}.yaml").write_text(
            f"version: 1\nname: {name}\ninput: {{use: jsonl, path: {name}.jsonl}}\n"
            "steps: [{id: size, use: length, of: answer, keep: {min: 2}}]\n"
            f"output: {{use: jsonl, path: {name}}}\n"
        )
        qaqfilter.run(tmp_path / f"{name}.yaml")
    with (
        reopened(tmp_path / "one", load_plugins()) as one,
        reopened(tmp_path / "two", load_plugins()) as two,
    ):
        pairs = match(one, two)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0, 1], [0, 1])
    assert (pairs.only_first.tolist(), pairs.only_second.tolist()) == ([2], [2, 3])


def test_ids_are_shown_as_they_are(tmp_path, command, write_recipe):
    recipe = write_recipe(STEPS)
    rows = [{"id": f":smile:[b]{n}", "query": q, "answer": a} for n, (q, a) in enumerate(PAIRS)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, share in (("one", 0.9), ("two", 0.25)):
        changes = [f"output.path={tmp_path / name}", f"steps.coherent.keep.fraction={share}"]
        qaqfilter.run(recipe, overrides=changes)
    _, out, _ = command("diff", tmp_path / "one", tmp_path / "two")
    assert ":smile:[b]" in out
    rows[0]["id"] = "a\tb"
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, bound in (("one", 1), ("two", 900)):
        changes = [f"output.path={tmp_path / name}", f"steps.sane.keep.min={bound}"]
        qaqfilter.run(recipe, overrides=[*changes, "steps.coherent.keep=null"], replace=True)
    code, _, err = command("diff", tmp_path / "one", tmp_path / "two", "--ids", tmp_path / "ids")
    assert code == 2
    assert "has a tab or a line end, which no TSV can hold" in err
    assert not (tmp_path / "ids").exists()


def test_json_has_the_numbers_of_the_page(two, command, tmp_path):
    code, out, err = command("diff", *two, "--json", "--html", tmp_path / "d.html")
    assert (code, err.splitlines()[-1]) == (0, f"written: {tmp_path / 'd.html'}")
    assert out.isascii()
    data = json.loads(out)
    page = (tmp_path / "d.html").read_text()
    rows = re.findall(r'<tr><th scope="row">([\w ]+)</th><td class="number">(\d+)</td>', page)
    assert dict(rows) == {
        "both": str(data["both"]),
        "the first alone": str(data["only_first"]),
        "the second alone": str(data["only_second"]),
        "neither": str(data["neither"]),
    }
    for name in ("first", "second"):
        some = data["examples"][name]["drawn"]
        assert some
        for one in some:
            assert f'<span class="id">{one["id"]}</span>' in page
            assert one["same_text"] is True
            assert one[name]["kept"] is True
            lost = one["second" if name == "first" else "first"]
            assert not lost["kept"]
            assert f"rejected by {lost['step']}: {lost['reason']}" in page
            if lost["reason"] == "min":
                assert lost["value"] == lost["scores"]["sane.length"] < lost["bound"]
