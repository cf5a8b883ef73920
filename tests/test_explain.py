"""`qaqfilter explain`: the numbers behind one record's decision, and the heatmap of its tokens."""

from __future__ import annotations

import json
import math
import re
from html import unescape
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len
from rich.console import Console

import qaqfilter
from qaqfilter import TokenSequence
from qaqfilter.asking import make_stage
from qaqfilter.cli import run_cli
from qaqfilter.manager import load_plugins
from qaqfilter.reopening import reopened
from qaqfilter_report.explaining import StepAccount, explained
from qaqfilter_report.heat import background
from qaqfilter_report.heat_text import heat_lines
from qaqfilter_report.heatmap import Cell, Heatmap, Piece, Side, cells, heatmaps, views_of

STEPS = """\
  - {id: sane, use: length, of: query, keep: {min: 18, max: 60}}
  - {id: even, use: rmi, keep: {rank: [0.1, 0.9]}, strata: {by: nll_query, bins: 2}}
  - {id: ifd, use: ifd, keep: {fraction: 0.8}, group: source}
  - {id: some, use: random, keep: {top: 5}}
  - {id: seen, use: rmi}"""


@pytest.fixture
def rows(pairs) -> list[dict[str, str]]:
    """Sixteen records of two sources, two of them twice, one without an answer."""
    rows = [{"query": q, "answer": a, "source": "a"} for q, a in pairs]
    rows += [{"query": a[:50], "answer": q, "source": "b"} for q, a in pairs[:5]]
    rows += [dict(row) for row in rows[3:5]]
    return [*rows, {"query": "explain what this one is about", "answer": "", "source": "a"}]


@pytest.fixture
def recipe(tmp_path, write_recipe, rows) -> Path:
    path = write_recipe(STEPS)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data.jsonl").write_text(text, encoding="utf-8")
    return path


def accounts_of(folder: Path, manager) -> dict[int, tuple[StepAccount, ...]]:
    """Of every record of a run."""
    with reopened(folder, manager) as found:
        return explained(found.run, range(found.run.records))


def test_the_numbers_are_those_of_the_run(tmp_path, recipe, manager):
    """Against scores.parquet, and places counted one by one."""
    qaqfilter.run(recipe)
    found = accounts_of(tmp_path / "out", manager)
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    steps = ["sane", "even", "ifd", "some", "seen"]
    assert len(found) == len(table) == 16
    seen = set()
    for row, scores in enumerate(table):
        last = steps.index(scores["step"]) if scores["step"] else len(steps)
        for index, account in enumerate(found[row]):
            assert account.id == steps[index]
            assert account.reached == (index <= last)
            assert account.passed == (index < last)
            if not account.reached:
                assert account == StepAccount(account.id, account.use, account.summary, False)
                continue
            assert account.value == scores[account.column]
            assert all(value == scores[name] for name, value in (account.others or {}).items())
            for likelihood in account.likelihoods:
                name = likelihood.name
                assert likelihood.whole.logprob == scores[f"{name}.logprob"]
                assert (likelihood.whole.tokens or None) == scores[f"{name}.tokens"]
                assert likelihood.whole.missing == scores[f"{name}.missing"]
                if likelihood.whole.nll is not None:
                    assert likelihood.whole.nll * likelihood.whole.tokens == pytest.approx(
                        -scores[f"{name}.logprob"]
                    )
            reason = account.rejection.reason if account.rejection else None
            assert reason == (None if account.passed else scores["reason"])
            failed = [test for test in account.tests if test.holds is False]
            assert bool(failed) == (not account.passed and account.value is not None)
            if failed:
                assert failed[0].rule.partition("_")[0] == reason
                assert account.rejection.value == failed[0].number
                if reason != "rank":  # told as one bound, whichever of the two it is
                    assert account.rejection.bound == failed[0].bound
            seen.add((account.id, reason))
    assert {("even", None), ("even", "rank"), ("even", "empty_answer"), ("sane", "min")} <= seen
    assert {("ifd", "fraction"), ("some", "top")} <= seen


def peers_of(found, row: int, index: int) -> list[tuple[float, int]]:
    """(value, row) of the records in the same stratum and group of a step, sorted."""
    own = found[row][index]

    def key(account: StepAccount):
        return (account.stratum and account.stratum.index, account.group and account.group.word)

    return sorted(
        (accounts[index].value, other)
        for other, accounts in found.items()
        if accounts[index].reached
        and accounts[index].value is not None
        and key(accounts[index]) == key(own)
    )


@pytest.mark.parametrize("index", range(5))
def test_places_and_neighbours_counted_one_by_one(tmp_path, recipe, manager, index):
    qaqfilter.run(recipe)
    found = accounts_of(tmp_path / "out", manager)
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    placed = 0
    for row, accounts in found.items():
        account = accounts[index]
        if not account.reached or account.value is None:
            assert account.place is None and not account.below and not account.above
            continue
        peers = peers_of(found, row, index)
        at = peers.index((account.value, row))
        below = [(n.value, n.row) for n in account.below]
        above = [(n.value, n.row) for n in account.above]
        assert below == peers[max(0, at - 2) : at][::-1]
        assert above == peers[at + 1 : at + 3]
        for neighbour in (*account.below, *account.above):
            step = table[neighbour.row]["step"]
            assert (neighbour.rejection and neighbour.rejection.step) == step
            assert neighbour.passed == (step != account.id and found[neighbour.row][index].reached)
        ranked = [value for value, _ in peers if index or 18 <= value <= 60]
        if index == 0 and not 18 <= account.value <= 60:
            assert account.place is None
            continue
        placed += 1
        place = account.place
        assert place.of == len(ranked)
        assert place.below == sum(value < account.value for value in ranked)
        assert place.equal == ranked.count(account.value) >= 1
        assert place.rank == pytest.approx((place.below + place.equal / 2) / place.of)
    assert placed >= 5
    assert index or any(a[0].place and a[0].place.equal > 1 for a in found.values())


def test_strata_and_groups_have_their_limits(tmp_path, recipe, manager):
    qaqfilter.run(recipe)
    found = accounts_of(tmp_path / "out", manager)
    spans: dict[int, list[float]] = {}
    for accounts in found.values():
        stratum = accounts[1].stratum
        if stratum is not None and stratum.index is not None:
            assert stratum.by == "even.nll_query" and stratum.bins == 2
            assert stratum.low <= stratum.value <= stratum.high
            spans.setdefault(stratum.index, []).append(stratum.value)
    assert set(spans) == {0, 1}
    for accounts in found.values():
        stratum = accounts[1].stratum
        if stratum is not None and stratum.index is not None:
            assert (stratum.low, stratum.high) == (
                min(spans[stratum.index]),
                max(spans[stratum.index]),
            )
    words = {a[2].group.word for a in found.values() if a[2].reached}
    assert words == {"a", "b"} and all(
        a[2].group.by == "source" for a in found.values() if a[2].reached
    )


@pytest.mark.parametrize(
    ("keep", "more"),
    [
        ("{quota: {a: 2, else: all}}", ", group: source"),
        ("{fraction: 0.5, invert: true}", ""),
        ("{min: 0.0, top: 4, invert: true}", ", strata: {by: nll_query, bins: 2}"),
        ("{min: 0.0, top: 4, of: input}", ", group: source"),
        ("{rank: [0.2, 0.8], invert: true}", ""),
        ("{above: 0.0, below: 0.3, fraction: 0.5}", ""),
    ],
)
def test_rules_tell_what_was_decided(tmp_path, recipe, manager, keep, more):
    """Whatever the rule, its tests lead to the decision; what they say of bounds is consistent."""
    path = tmp_path / "other.yaml"
    head, _, tail = recipe.read_text().partition("steps:\n")
    end = tail[tail.index("output:") :]
    path.write_text(f"{head}steps:\n  - {{id: one, use: rmi, keep: {keep}{more}}}\n{end}")
    qaqfilter.run(path)
    found = accounts_of(tmp_path / "out", manager)
    outcomes = set()
    for (account,) in found.values():
        if account.value is None:
            assert account.tests == () and account.rejection is not None
            continue
        assert account.tests
        inverted = bool(account.keep.get("invert"))
        assert account.passed == (all(test.holds for test in account.tests) != inverted)
        outcomes.add(account.passed)
        for test in account.tests:
            if test.rule in ("top", "fraction", "quota") and test.holds is not None:
                assert test.holds == (test.number >= test.bound) or test.number == test.bound
            if account.rejection and test.holds is False and test.rule in ("top", "quota"):
                assert account.rejection.bound == test.bound
    assert outcomes == {True, False}


def test_a_selector_that_decides_itself(tmp_path, recipe, manager):
    text = recipe.read_text()
    path = tmp_path / "twice.yaml"
    end = text[text.index("output:") :]
    head = text.partition("steps:\n")[0]
    path.write_text(f"{head}steps:\n  - {{id: once, use: exact_duplicates}}\n{end}")
    qaqfilter.run(path)
    found = accounts_of(tmp_path / "out", manager)
    gone = [a[0] for a in found.values() if not a[0].passed]
    assert gone and all(a.own_rule and a.rejection and not a.tests for a in gone)
    assert all(not math.isnan(a.value) for a in gone if a.value is not None)


def test_no_such_row(tmp_path, recipe, manager):
    qaqfilter.run(recipe)
    with reopened(tmp_path / "out", manager) as found:
        assert explained(found.run, []) == {}
        with pytest.raises(IndexError, match="rows are 0 to 15, not 3 to 16"):
            explained(found.run, [3, 16])
        # One standing a step, however many rows.
        asked = explained(found.run, [15, 0, 15])
        assert list(asked) == [0, 15]
        assert asked[0] == accounts_of(tmp_path / "out", manager)[0]


# --- the heatmap --------------------------------------------------------------------------


def heatmaps_of(folder: Path, manager, row: int, *, views: tuple[str, ...] = ()) -> list[Heatmap]:
    with reopened(folder, manager) as found:
        record = found.records([row])[row]
        asked = views_of(found.recipe, views)
        return [one for v in asked for _, one in heatmaps(found, manager, v, {row: record})]


def text_of(side: Side) -> str:
    return "".join(cell.text for cell in side.cells)


@pytest.fixture
def fitted(tmp_path, write_recipe) -> Path:
    """A recipe whose model is a unigram model with a cache: easily worked out by hand."""
    (tmp_path / "fit.txt").write_bytes(b"the quick brown fox\nreturn a + b\n")
    path = write_recipe(
        "  - {id: one, use: rmi, keep: {rank: [0.2, 0.8]}}\n  - {id: two, use: ifd}"
    )
    text = path.read_text()
    path.write_text(text.replace("{use: ngram}", "{use: ngram, order: 1, fit: [fit.txt]}"))
    return path


def by_hand(fit: bytes, context: str, target: str) -> list[float]:
    """Half of the text fitted on, half of what was seen so far; one added to every count."""
    found, seen = [], context.encode()
    for byte in target.encode():
        fixed = (fit.count(byte) + 1) / (len(fit) + 256)
        cache = (seen.count(byte) + 1) / (len(seen) + 256)
        found.append(math.log(0.5 * fixed + 0.5 * cache))
        seen += bytes([byte])
    return found


def test_the_tokens_by_hand(tmp_path, fitted, manager, pairs):
    qaqfilter.run(fitted)
    fit = (tmp_path / "fit.txt").read_bytes()
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    for row, (query, answer) in enumerate(pairs[:3]):
        (found,) = heatmaps_of(tmp_path / "out", manager, row)
        assert found.view == "toy"
        (exchange,) = found.exchanges
        for side, own, other in (
            (exchange.query, query, answer),
            (exchange.answer, answer, query),
        ):
            assert [cell.text for cell in side.cells] == list(own)
            alone, given = by_hand(fit, "", own), by_hand(fit, other + "\n", own)
            assert [cell.alone for cell in side.cells] == pytest.approx(alone, rel=1e-6)
            assert [cell.given for cell in side.cells] == pytest.approx(given, rel=1e-6)
            gains = [b - a for a, b in zip(alone, given, strict=True)]
            assert [cell.gain for cell in side.cells] == pytest.approx(gains, abs=1e-6)
        for name, value in (
            ("query", exchange.query.alone),
            ("query_given_answer", exchange.query.given),
            ("answer", exchange.answer.alone),
            ("answer_given_query", exchange.answer.given),
        ):
            expected = table[row][f"toy.{name}.logprob"]  # the second step sees fewer records
            assert expected is None or value == pytest.approx(expected, rel=1e-6)


WORDS = "Naïve café 漢字🙂: sum of\ttwo\n\n  numbers\u200b.  "


def test_the_tokens_of_a_language_model(tmp_path, write_recipe, manager):
    """Against its backend, asked with sequences put together here; every character is there."""
    path = write_recipe(
        "  - {id: one, use: ifd}",
        pairs=[(WORDS, "def add(a, b):\n    return a + b  # 漢\n"), ("one", "two")],
    )
    text = path.read_text()
    model = '{use: reference, model: "builtin:strong"}'
    path.write_text(text.replace("{use: ngram}", model))
    qaqfilter.run(path)
    (found,) = heatmaps_of(tmp_path / "out", manager, 0)
    (exchange,) = found.exchanges
    assert text_of(exchange.query) == WORDS
    answer = "def add(a, b):\n    return a + b  # 漢\n"
    assert text_of(exchange.answer) == answer
    with reopened(tmp_path / "out", manager) as run:
        stage = make_stage(
            run.recipe, manager, run.stream, run.recipe.steps[0], model="toy", likelihoods=()
        )
        with stage.opened() as opened:
            encode = opened.backend.encode
            own, line = encode(answer, markup=False), encode("\n", markup=True)
            before = [opened.backend.start_token, *encode(WORDS, markup=False), *line]
            ids = (*before, *own)
            ((logprobs,),) = opened.backend.logprobs(
                [TokenSequence(ids, ((len(before), len(ids)),))]
            )
    assert sum(cell.tokens for cell in exchange.answer.cells) == len(logprobs)
    assert exchange.answer.given == pytest.approx(float(logprobs.sum()), rel=1e-5)
    # The tokens of one character stand together, and nothing else does.
    at = 0
    for cell in exchange.answer.cells:
        part = logprobs[at : at + cell.tokens]
        assert cell.given == pytest.approx(float(part.sum()), rel=1e-4, abs=1e-5)
        assert cell.tokens == 1 or "漢" in cell.text
        at += cell.tokens
    assert len(exchange.answer.cells) > 8


def test_conversations_have_a_heatmap_for_each_exchange(tmp_path, manager):
    turns = ["add one", "def one(): ...", "and two", "def two(): pass", "three", "def three(): 3"]
    roles = ("user", "assistant")
    talks = [
        {"messages": [{"role": roles[n % 2], "content": t} for n, t in enumerate(turns[:end])]}
        for end in (6, 4, 2)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    for how in ("each", "all", "last"):
        recipe = tmp_path / f"{how}.yaml"
        recipe.write_text(
            f"version: 1\nname: t\ninput: {{use: jsonl, path: data.jsonl, turns: {how}}}\n"
            "models:\n  toy: {use: ngram}\nsteps:\n  - {id: one, use: rmi}\n"
            f"output: {{use: jsonl, path: {how}}}\n"
        )
        qaqfilter.run(recipe)
        (found,) = heatmaps_of(tmp_path / how, manager, 0)
        said = [(text_of(one.query), text_of(one.answer)) for one in found.exchanges]
        every = [(turns[n], turns[n + 1]) for n in (0, 2, 4)]
        assert said == (every if how != "last" else every[2:])
        account = accounts_of(tmp_path / how, manager)[0][0]
        whole = {one.name: one for one in account.likelihoods}["toy.query"]
        assert whole.whole.logprob == pytest.approx(sum(o.query.alone for o in found.exchanges))
        assert whole.whole.tokens == sum(len(text) for text, _ in said)
        each = [one.logprob for one in whole.exchanges]
        expected = [one.query.alone for one in found.exchanges] if how == "each" else []
        assert each == pytest.approx(expected)


def test_a_cut_answer_is_shown_as_far_as_the_model_saw_it(
    tmp_path, write_recipe, manager, monkeypatch
):
    path = write_recipe("  - {id: one, use: ifd}")
    path.write_text(path.read_text().replace("{use: ngram}", "{use: ngram, too_long: cut_answer}"))
    monkeypatch.setattr("qaqfilter_ngram.backend.NgramBackend.max_length", 50)
    qaqfilter.run(path)
    query, answer = "count the vowels in a word", "def vowels(w):\n    return sum(c in 'aeiou'"
    (found,) = heatmaps_of(tmp_path / "out", manager, 3)
    side = found.exchanges[0].answer
    shown = 50 - 2 - len(query)  # the start, the line end
    assert text_of(side) == answer[:shown]
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    assert side.cut == table[3]["toy.cut"] > 10
    assert accounts_of(tmp_path / "out", manager)[3][0].others["toy.cut"] == side.cut


@pytest.mark.parametrize("preset", ["cherry", "superfiltering"])
def test_prompts_of_scripts(tmp_path, write_recipe, manager, preset):
    """Their texts are tokenised whole; what is shown is as long as what the run scored."""
    path = write_recipe(f"  - {{id: one, preset: {preset}}}")
    qaqfilter.run(path)
    (found,) = heatmaps_of(tmp_path / "out", manager, 1)
    assert found.view == "one@toy"
    side = found.exchanges[0].answer
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    assert side.given == pytest.approx(table[1]["one@toy.answer_given_query.logprob"], rel=1e-6)
    assert "return s[::-1]" in text_of(side)
    assert any(cell.gain is not None for cell in side.cells)


# Texts with their cuts: each token is what it writes and its log-probability.
CUTS = [
    ("ab cd", [("ab", -1), (" cd", -2)], [("ab", -3), (" cd", -4)], ["ab", " cd"]),
    ("ab cd", [("ab", -1), (" c", -2), ("d", -3)], [("ab", -3), (" cd", -4)], ["ab", " cd"]),
    ("abcdef", [("ab", -1), ("cd", -1), ("ef", -1)], [("abc", -1), ("def", -1)], ["abcdef"]),
    ("abcd", [("a", -1), ("b", -1), ("cd", -1)], [("ab", -1), ("c", -1), ("d", -1)], ["ab", "cd"]),
    ("abc", [("bc", -1)], [("a", -1), ("bc", -2)], ["a", "bc"]),
]


@pytest.mark.parametrize(("text", "alone", "given", "expected"), CUTS)
def test_tokens_are_matched_by_their_characters(text, alone, given, expected):
    def pieces(tokens):
        at = len(text) - sum(len(token) for token, _ in tokens)
        for token, logprob in tokens:
            yield Piece(at, at := at + len(token), float(logprob))

    found = list(cells(text, list(pieces(alone)), text, list(pieces(given))))
    assert [cell.text for cell in found] == expected
    assert sum(cell.alone or 0.0 for cell in found) == sum(n for _, n in alone)
    assert sum(cell.given or 0.0 for cell in found) == sum(n for _, n in given)
    assert [cell.gain is None for cell in found] == [cell.alone is None for cell in found]


def test_tokens_of_one_character_stand_together():
    bytes_of_it = [Piece(0, 1, -1.0), Piece(0, 1, -2.0), Piece(0, 1, -3.0), Piece(1, 2, -1.0)]
    found = list(cells("漢b", bytes_of_it, "漢b", bytes_of_it))
    assert [(cell.text, cell.tokens, cell.alone) for cell in found] == [
        ("漢", 3, -6.0),
        ("b", 1, -1.0),
    ]


def test_texts_that_end_otherwise():
    """A script's text alone and given the other side: what is the same is compared."""
    alone = [Piece(0, 2, -1.0), Piece(2, 5, -2.0)]
    given = [Piece(0, 2, -3.0), Piece(2, 4, -4.0)]
    found = list(cells("abEND", alone, "abXX", given))
    assert [(c.text, c.alone, c.given) for c in found] == [
        ("ab", -1.0, -3.0),
        ("END", -2.0, None),
        ("XX", None, -4.0),
    ]


# --- the command --------------------------------------------------------------------------


@pytest.fixture
def said(capsys):
    """Call the command; the exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_cli(["explain", *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def ids_of(folder: Path) -> list[str]:
    return pq.read_table(folder / "scores.parquet")["id"].to_pylist()


def test_on_the_terminal(tmp_path, recipe, said, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    qaqfilter.run(recipe)
    ids = ids_of(tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    row = next(n for n, one in enumerate(table) if one["step"] == "even")
    code, out, err = said(tmp_path / "out", ids[row])
    assert code == 0, err
    assert "\x1b" not in out
    assert out.startswith(f"{ids[row]}: rejected by even, ")
    assert max(map(len, out.splitlines())) <= 80
    for part in (
        "ifd (ifd): not reached: an earlier step had rejected it",
        f"{table[row]['even.rmi']:.6g}".replace("-", "−"),
        "stratum",
        "next to it",
        "query, by toy:",
        "answer, by toy:",
        "under a token: +",
    ):
        assert part in out, part
    code, out, _ = said(tmp_path / "out", ids[row], "--no-model")
    assert code == 0 and "stratum" in out and "by toy" not in out
    code, again, _ = said(tmp_path / "out", next(one for one in ids if one.endswith("#2")))
    assert code == 0 and "#2: " in again


def test_a_record_that_nobody_knows(tmp_path, recipe, said):
    qaqfilter.run(recipe)
    code, out, err = said(tmp_path / "out", "nobody")
    assert (code, out) == (2, "")
    assert "'nobody'" in err and "scores.parquet" in err
    code, out, err = said(tmp_path / "out", ids_of(tmp_path / "out")[0], "--model", "strong")
    assert (code, out) == (2, "")
    assert "'strong'" in err and "toy" in err
    code, _, err = said(tmp_path / "out", "x", "--model", "toy", "--no-model")
    assert code == 2 and "exclude each other" in err
    code, _, err = said(tmp_path / "nowhere", "x")
    assert code == 1 and "no finished run" in err


def test_the_beginning_of_an_id_is_enough(tmp_path, recipe, said, rows):
    named = [{"id": f"fox-{n:02}", **row} for n, row in enumerate(rows)]
    named[2]["id"], named[3]["id"] = (
        "fox-20",
        "fox-0",
    )  # an id as it stands comes before the beginning of others
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    qaqfilter.run(recipe)
    for name, id_ in (("fox-14", "fox-14"), ("fox-0", "fox-0"), ("fox-2", "fox-20")):
        code, out, err = said(tmp_path / "out", name, "--no-model")
        assert code == 0, err
        assert out.startswith(f"{id_}: ")
    code, out, err = said(tmp_path / "out", "fox-1", "--no-model")
    assert (code, out) == (2, "")
    assert "6 ids begin with 'fox-1': 'fox-10', 'fox-11', " in err
    assert "'fox-14' and 1 more" in err and "fox-15" not in err


def test_a_record_by_its_place(tmp_path, recipe, said):
    lines = (tmp_path / "data.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "data.jsonl").write_text("\n\n" + "".join(lines))  # lines are not ordinals + 1
    qaqfilter.run(recipe)
    rows = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    for row in (0, 7):
        for place in (f"data.jsonl#{rows[row]['ordinal']}", f"data.jsonl:{row + 3}"):
            code, out, err = said(tmp_path / "out", place, "--json", "--no-model")
            assert code == 0, err
            assert (json.loads(out)["row"], json.loads(out)["id"]) == (row, rows[row]["id"])
    for place in ("data.jsonl#99", "data.jsonl:1", "other.jsonl:3", "data.jsonl:"):
        code, _, err = said(tmp_path / "out", place, "--no-model")
        assert code == 2 and f"'{place}'" in err
    (tmp_path / "data.jsonl").unlink()
    code, _, err = said(tmp_path / "out", "data.jsonl:3", "--no-model")
    assert code == 1 and "data.jsonl" in err
    assert said(tmp_path / "out", f"data.jsonl#{rows[0]['ordinal']}", "--no-model")[0] == 0


def test_as_json(tmp_path, recipe, said):
    qaqfilter.run(recipe)
    ids = ids_of(tmp_path / "out")
    with reopened(tmp_path / "out", load_plugins()) as found:
        expected = explained(found.run, [8])[8]
    code, out, err = said(tmp_path / "out", ids[8], "--json")
    assert code == 0, err
    assert out.isascii()
    data = json.loads(out)
    assert (data["id"], data["row"], data["errors"]) == (ids[8], 8, [])
    assert [step["id"] for step in data["steps"]] == ["sane", "even", "ifd", "some", "seen"]
    for step, account in zip(data["steps"], expected, strict=True):
        assert (step["value"], step["passed"]) == (account.value, account.passed)
        assert [n["row"] for n in step["above"]] == [n.row for n in account.above]
        assert all(n["id"] == ids[n["row"]] for n in step["above"])
    (one,) = data["heatmaps"]
    tokens = one["exchanges"][0]["query"]["tokens"]
    assert sum(token["gain"] for token in tokens) == pytest.approx(
        one["exchanges"][0]["query"]["given"] - one["exchanges"][0]["query"]["alone"]
    )


def test_a_record_without_an_answer(tmp_path, recipe, said):
    qaqfilter.run(recipe)
    code, out, err = said(tmp_path / "out", ids_of(tmp_path / "out")[15])
    assert code == 0, err
    assert "even (rmi): rejected: empty_answer, so there is no score" in out
    assert (
        "toy.query_given_answer  none (empty_answer)"
        in " ".join(out.split("\n")).replace("  toy", "toy")
        or "none (empty_answer)" in out
    )
    assert "answer, by toy: none (empty_answer)" in out


HOSTILE = "</pre><script>alert(1)</script>\x1b[31m\u202e ⏎ [bold]x[/bold] {{ 7*7 }}\x07 end"


def test_hostile_text(tmp_path, write_recipe, said):
    bad = "<b>\x1b]0;title\x07"
    path = write_recipe("  - {id: one, use: rmi}")
    row = {"id": bad, "query": HOSTILE, "answer": HOSTILE * 2}
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    qaqfilter.run(path)
    page = tmp_path / "why.html"
    code, out, err = said(tmp_path / "out", bad)
    assert code == 0, err
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert "{{·7*7·}}" in out and "[bold]x[/bold]" in out
    code, out, err = said(tmp_path / "out", bad, "--html", page)
    assert code == 0, err
    html = page.read_text(encoding="utf-8")
    assert "<script>alert" not in html and "</pre><script" not in html
    assert not {"\x1b", "\x07", "\u202e"} & set(html)
    assert "script-src 'none'" in unescape(html)
    # Every character of the text is there, in order.
    shown = re.search(r'<pre class="heat">(.*?)</pre>', html, re.DOTALL)[1]
    letters = unescape(re.sub(r"<[^>]*>", "", shown))
    assert letters.replace("⏎\n", "\n").startswith("</pre><script>alert(1)</script>U+001B[31m")


def test_the_page(tmp_path, recipe, said):
    qaqfilter.run(recipe)
    ids = ids_of(tmp_path / "out")
    page = tmp_path / "why.html"
    code, out, err = said(tmp_path / "out", ids[8], "--html", page)
    assert code == 0, err
    assert out == f"written: {page}\n"
    html = page.read_text(encoding="utf-8")
    assert "http" not in re.sub(r"http-equiv", "", html)
    assert html.count('<pre class="heat">') == 2 and html.count("<details>") == 2
    (found,) = heatmaps_of(tmp_path / "out", load_plugins(), 8)
    cell = found.exchanges[0].query.cells[0]
    assert f'title="{cell.gain:+.2f}: '.replace("-", "−") in html
    code, _, err = said(tmp_path / "out", ids[8], "--html", tmp_path / "no" / "folder.html")
    assert code == 2 and "cannot be written" in err


def test_a_long_text_is_cut_unless_all_is_asked_for(tmp_path, write_recipe, said):
    answer = "".join(f"line {n} of many\n" for n in range(60))
    path = write_recipe("  - {id: one, use: rmi}", pairs=[("say many lines", answer)])
    qaqfilter.run(path)
    (label,) = ids_of(tmp_path / "out")
    code, out, _ = said(tmp_path / "out", label)
    assert code == 0 and f"{len(answer) - 400} more tokens are not shown; --all" in out
    assert "line·59" not in out.replace(" ", "·")
    code, out, _ = said(tmp_path / "out", label, "--all")
    assert code == 0 and "more tokens" not in out
    assert "line·59" in out.replace(" ", "·")


def test_a_model_that_is_another_now(tmp_path, fitted, said):
    """The account is shown all the same; a heatmap of other numbers is not."""
    qaqfilter.run(fitted)
    label = ids_of(tmp_path / "out")[0]
    (tmp_path / "fit.txt").write_bytes(b"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz")
    code, out, err = said(tmp_path / "out", label)
    assert code == 1
    assert "one (rmi): " in out and "query, by toy" not in out
    assert "there is no heatmap" in err and "the run has" in err
    (tmp_path / "fit.txt").unlink()
    code, out, err = said(tmp_path / "out", label, "--json")
    assert code == 1 and "fit.txt" in err
    data = json.loads(out)
    assert data["steps"][0]["id"] == "one" and data["heatmaps"] == []
    assert "fit.txt" in data["errors"][0]
    code, out, err = said(tmp_path / "out", label, "--html", tmp_path / "why.html")
    assert code == 1 and "There is no heatmap" in (tmp_path / "why.html").read_text()
    code, out, err = said(tmp_path / "out", label, "--no-model")
    assert code == 0, err


def test_an_input_that_is_gone(tmp_path, recipe, said):
    qaqfilter.run(recipe)
    label = ids_of(tmp_path / "out")[0]
    (tmp_path / "data.jsonl").unlink()
    code, out, err = said(tmp_path / "out", label)
    assert code == 1 and "sane (length)" in out and "data.jsonl" in err
    assert said(tmp_path / "out", label, "--no-model")[0] == 0


NEEDY = """\
from qaqfilter import Component, Needs, hookimpl
from qaqfilter_ngram.backend import NgramBackend, NgramOptions


@hookimpl
def qaqfilter_backends():
    yield Component("needy", NgramOptions, NgramBackend, "x", Needs("qaqfilter[needy]", ("needy",)))
"""


def test_a_library_that_is_not_installed_here(tmp_path, recipe, said, monkeypatch):
    plugin = tmp_path / "needy_backend.py"
    plugin.write_text(NEEDY)
    recipe.write_text(recipe.read_text().replace("use: ngram", "use: needy"))
    with monkeypatch.context() as patch:
        patch.setattr("qaqfilter.manager.is_installed", lambda module: True)
        qaqfilter.run(recipe, plugins=[plugin])
    label = ids_of(tmp_path / "out")[8]
    code, out, err = said(tmp_path / "out", label, "--plugin", plugin)
    assert code == 1 and "even (rmi)" in out
    assert "pip install 'qaqfilter[needy]'" in err


PLACELESS = """\
from qaqfilter import Component, hookimpl
from qaqfilter_ngram.backend import NgramBackend, NgramOptions


class Placeless(NgramBackend):
    {lacks} = None


@hookimpl
def qaqfilter_backends():
    yield Component("placeless", NgramOptions, Placeless, "x")
"""


@pytest.mark.parametrize("lacks", ["places", "places = encode_whole"])
def test_a_backend_that_cannot_tell_places(tmp_path, recipe, said, lacks):
    plugin = tmp_path / "placeless_backend.py"
    plugin.write_text(PLACELESS.format(lacks=lacks))
    recipe.write_text(recipe.read_text().replace("use: ngram", "use: placeless"))
    qaqfilter.run(recipe, plugins=[plugin])
    asked = (tmp_path / "out", ids_of(tmp_path / "out")[8], "--plugin", plugin)
    code, out, err = said(*asked)
    assert code == 0 and "even (rmi)" in out
    assert "note: there is no heatmap" in err and "it has no `places`" in err
    assert "error" not in err
    code, out, _ = said(*asked, "--json")
    data = json.loads(out)
    assert code == 0 and data["errors"] == data["heatmaps"] == []
    (note,) = data["notes"]
    assert "it has no `places`" in note
    assert said(*asked, "--html", tmp_path / "why.html")[0] == 0
    assert "it has no `places`" in unescape((tmp_path / "why.html").read_text())


def test_a_heatmap_that_is_asked_for_and_cannot_be_made(tmp_path, recipe, said):
    plugin = tmp_path / "placeless_backend.py"
    plugin.write_text(PLACELESS.format(lacks="places"))
    recipe.write_text(recipe.read_text().replace("use: ngram", "use: placeless"))
    qaqfilter.run(recipe, plugins=[plugin])
    (model,) = qaqfilter.load_recipe(recipe, plugins=[plugin]).models
    asked = ("--plugin", plugin, "--model", model)
    code, out, err = said(tmp_path / "out", ids_of(tmp_path / "out")[8], *asked)
    assert code == 1 and "even (rmi)" in out
    assert "error: there is no heatmap" in err and "it has no `places`" in err


def test_steps_without_a_model(tmp_path, write_recipe, said):
    qaqfilter.run(write_recipe("  - {id: sane, use: length, keep: {min: 1}}"))
    code, out, err = said(tmp_path / "out", ids_of(tmp_path / "out")[0])
    assert code == 0, err
    assert out.count(" kept") == 4 and "under a token" not in out


# --- how it looks -------------------------------------------------------------------------


def cells_of(*tokens: tuple[str, float]) -> list[Cell]:
    return [Cell(text, -5.0, -5.0 + gain, 1) for text, gain in tokens]


def test_signs_stand_below_their_tokens():
    found = cells_of(("def", 3.0), (" add", -0.6), ("(a", 0.1), ("):\n    ", -2.5), ("\t", 0.7))
    lines = [line.plain for line in heat_lines([*found, *cells_of(("", 0.9))], 40)]
    assert lines == ["│ def add(a):⏎", "  ###----  ===", "│     →∅", "  ====++"]


def test_wide_letters_and_long_tokens_fit():
    found = cells_of(("漢字", 2.0), ("x" * 25, 1.0), ("\u200b", 1.0), ("   ", -1.0))
    lines = [line.plain for line in heat_lines(found, 12)]
    assert lines == [
        "│ 漢字",
        "  ####",
        *["│ " + "x" * 10, "  " + "+" * 10] * 2,
        "│ xxxxx",
        "  +++++",
        "│ \\u200b···",
        "  ++++++---",
    ]
    assert all(cell_len(line) <= 12 for line in lines)


@pytest.mark.parametrize("no_color", [True, False])
def test_colours_only_where_they_are_wanted(no_color):
    buffer = StringIO()
    console = Console(
        file=buffer, force_terminal=True, color_system="truecolor", no_color=no_color, width=80
    )
    for line in heat_lines(cells_of(("def", 3.0), (" x", -3.0)), 80):
        console.print(line)
    assert ("\x1b[38;2;17;17;17;48;2;138;184;238mdef" in buffer.getvalue()) != no_color
    assert "###==" in buffer.getvalue()


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_letters_can_be_read_on_every_colour():
    """WCAG 2.1, AA: a contrast of 4.5; further from zero is stronger."""
    assert background(0.0) is background(None) is None
    for sign in (1, -1):
        shades = [background(sign * gain) for gain in (0.1, 0.5, 1, 2, 3, 4, 40)]
        light = [luminance(shade) for shade in shades]
        assert light == sorted(light, reverse=True) and shades[-1] == shades[-2]
        assert min((one + 0.05) / (luminance("#111111") + 0.05) for one in light) >= 4.5
    assert background(1.0) != background(-1.0)
