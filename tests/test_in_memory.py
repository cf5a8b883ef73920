"""Records and tables in memory: the same numbers and the same decisions as for files."""

from __future__ import annotations

import json
import subprocess
import sys

import datasets
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import qaqfilter
from qaqfilter import LIKELIHOODS, NotScored, RecipeError, SourceError, UsageError

TOY = {"toy": {"use": "ngram"}}
RMI = {"id": "rmi", "use": "rmi", "keep": {"fraction": 0.5}}


def rows(pairs) -> list[dict]:
    return [{"query": q, "answer": a, "n": n % 2} for n, (q, a) in enumerate(pairs)]


def frames(records):
    """The same records in every form that a user may have them in."""
    yield records
    yield tuple(records)
    yield (row for row in records)
    table = pa.Table.from_pylist(records)
    yield table
    yield table.to_batches()[0].to_pylist()
    yield pandas.DataFrame(records)
    yield polars.DataFrame(records)
    yield datasets.Dataset.from_list(records)


def test_every_form_of_records_gives_the_numbers_of_a_file(tmp_path, pairs, write_recipe):
    recipe = write_recipe("  - {id: ifd, use: ifd}\n  - {id: rmi, use: rmi}")
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(pairs)))
    qaqfilter.run(recipe)
    wanted = pq.read_table(tmp_path / "out" / "scores.parquet")
    seen = 0
    for records in frames(rows(pairs)):
        found = qaqfilter.score(records, models=TOY)
        assert found["id"].equals(wanted["id"])
        for name in LIKELIHOODS:
            for what in ("logprob", "tokens", "missing"):
                column = f"toy.{name}.{what}"
                assert found[column].to_pylist() == wanted[column].to_pylist(), column
        seen += 1
    assert seen == 8


def test_select_decides_as_a_run(tmp_path, pairs, write_recipe):
    steps = [
        {"id": "sane", "use": "length", "of": "query", "keep": {"min": 17}},
        {**RMI, "strata": {"by": "nll_query", "bins": 2}},
        {"id": "ifd", "use": "ifd", "group": "n", "keep": {"top": 1}},
    ]
    recipe = write_recipe("".join(f"  - {json.dumps(step)}\n" for step in steps))
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(pairs)))
    qaqfilter.run(recipe)
    wanted = pq.read_table(tmp_path / "out" / "scores.parquet")
    scored = qaqfilter.score(rows(pairs), models=TOY)
    found = qaqfilter.select(scored, steps, records=rows(pairs))
    for name in ("kept", "step", "reason", "sane.length", "rmi.rmi", "ifd.ifd_ppl"):
        assert found[name].to_pylist() == wanted[name].to_pylist(), name
    assert 0 < found["kept"].to_pylist().count(True) < len(found)
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    rejected = [json.loads(line) for line in lines]
    out = found.filter(pa.compute.invert(found["kept"]))
    assert out["value"].to_pylist() == [line["value"] for line in rejected]
    assert out["bound"].to_pylist() == [line["bound"] for line in rejected]
    # A run's own scores.parquet is such a table, as far as its chain got.
    assert qaqfilter.select(wanted, steps, records=rows(pairs)).equals(found)
    with pytest.raises(NotScored, match=r"the table lacks them for [1-7] of the 8 records"):
        qaqfilter.select(wanted, [RMI])


def test_the_mask_goes_with_the_records(pairs):
    table = pa.Table.from_pylist(rows(pairs))
    chosen = qaqfilter.select(qaqfilter.score(table, models=TOY), [RMI])
    kept = table.filter(chosen["kept"])
    assert (len(kept), kept.schema) == (4, table.schema)


def test_only_what_is_asked_for_is_scored(pairs):
    table = qaqfilter.score(rows(pairs), models=TOY, likelihoods=["answer"])
    assert table.column_names == [
        "id",
        *(f"toy.answer.{what}" for what in ("logprob", "tokens", "missing")),
    ]
    with pytest.raises(NotScored, match="step 'rmi' needs query, query_given_answer of model"):
        qaqfilter.select(table, [RMI])


def test_null_is_null(pairs):
    records = [*rows(pairs), {"query": "", "answer": "x", "n": 0}]
    table = qaqfilter.score(records, models=TOY)
    assert table["toy.query.missing"].to_pylist()[-1] == "empty_query"
    assert table["toy.query.logprob"].to_pylist()[-1] is None
    chosen = qaqfilter.select(table, [RMI]).to_pylist()[-1]
    assert (chosen["kept"], chosen["reason"], chosen["value"]) == (False, "empty_query", None)


def test_a_table_that_lost_the_type_of_its_nulls(pairs):
    """`missing` of numbers that are all there: another library writes a column of nulls."""
    numbers = qaqfilter.score(rows(pairs), models={"m": {"use": "ngram"}})
    again = pa.Table.from_pylist(numbers.to_pylist())
    assert pa.types.is_null(again["m.query.missing"].type)
    step = {"id": "rmi", "use": "rmi", "keep": {"top": 2}}
    assert qaqfilter.select(again, [step]).equals(qaqfilter.select(numbers, [step]))


def test_layout_fields_and_prompt_are_as_in_a_recipe(pairs):
    records = [{"a": {"q": q}, "b": a} for q, a in pairs]
    with pytest.raises(SourceError, match="fits no layout"):
        qaqfilter.score(records, models=TOY)
    found = qaqfilter.score(records, models=TOY, fields={"query": "a.q", "answer": "b"})
    wanted = qaqfilter.score(rows(pairs), models=TOY)
    assert found.equals(wanted)
    other = qaqfilter.score(rows(pairs), models=TOY, prompt={"use": "plain", "separator": " "})
    assert not other["toy.query_given_answer.logprob"].equals(
        wanted["toy.query_given_answer.logprob"]
    )
    assert other["toy.query.tokens"].equals(wanted["toy.query.tokens"])


def test_no_records_no_rows():
    table = qaqfilter.score([], models=TOY)
    assert len(table) == 0
    assert len(qaqfilter.select(table, [RMI])) == 0


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda r: qaqfilter.score("data.jsonl", models=TOY), UsageError, "qaqfilter.run"),
        (lambda r: qaqfilter.score({"query": []}, models=TOY), UsageError, "records is a dict"),
        (lambda r: qaqfilter.score([*r, 3], models=TOY), UsageError, "records#8 is a int"),
        (
            lambda r: qaqfilter.score([*r, {"query": 1, "answer": "x"}], models=TOY),
            UsageError,
            "records#8: field 'query' is a number",
        ),
        (
            lambda r: qaqfilter.score(r, models=TOY, likelihoods=["question"]),
            UsageError,
            "no likelihood is called 'question'; there are: query",
        ),
        (
            lambda r: qaqfilter.score(r, models={"toy": {"use": "ngrm"}}),
            RecipeError,
            "models.toy.use: no backend is called 'ngrm'; did you mean 'ngram'",
        ),
        (
            lambda r: qaqfilter.select(
                qaqfilter.score(r, models=TOY), [{**RMI, "keep": {"fractoin": 0.5}}]
            ),
            RecipeError,
            "steps.rmi.keep.fractoin: unknown key; did you mean 'fraction'",
        ),
        (
            lambda r: qaqfilter.select(
                qaqfilter.score(r, models=TOY),
                [{"id": "n", "use": "length", "keep": {"min": 1}}],
            ),
            UsageError,
            "give select the records too",
        ),
        (
            lambda r: qaqfilter.select(qaqfilter.score(r, models=TOY), [RMI], records=r[1:]),
            UsageError,
            "the 7 records are not those of the table's 8 rows",
        ),
        (
            lambda r: qaqfilter.select(qaqfilter.score(r, models=TOY), [RMI], records=r[::-1]),
            UsageError,
            "in order",
        ),
    ],
)
def test_what_is_wrong_is_said(pairs, call, kind, words):
    with pytest.raises(kind) as caught:
        call(rows(pairs))
    assert words in str(caught.value)


def test_what_was_scored_once_is_not_scored_again(pairs, tmp_path):
    store = tmp_path / "store"
    first = qaqfilter.score(rows(pairs), models=TOY, store=store)
    parts = {path: path.read_bytes() for path in store.glob("*/*.parquet")}
    assert parts
    assert qaqfilter.score(rows(pairs), models=TOY, store=store).equals(first)
    assert {path: path.read_bytes() for path in store.glob("*/*.parquet")} == parts


def test_importing_it_is_quick():
    """The names are there without pyarrow, torch or a plugin being imported."""
    look = (
        "import sys, qaqfilter; qaqfilter.score, qaqfilter.select; "
        "print([n for n in ('torch', 'pyarrow', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
