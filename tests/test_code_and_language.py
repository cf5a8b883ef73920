"""Natural languages, programming languages and syntax: the selectors on real and hostile texts."""

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import qaqfilter
from qaqfilter import Origin, Record, UsageError
from qaqfilter_code.grammars import GRAMMARS, faults
from qaqfilter_code.language import CodeLanguage, CodeLanguageOptions
from qaqfilter_code.syntax import Syntax, SyntaxOptions
from qaqfilter_language.selector import LanguageOptions, NaturalLanguage

HOSTILE = ["", "\0", "\ud800", "\ud800 words", "a" * 1_000_000, "שלום \u202eעולם", "\u2028```\n"]


def record(query, answer=""):
    return Record("r", query, answer, b"", Origin("here", 0))


def language(text, **options):
    found = NaturalLanguage(LanguageOptions(**options)).measure(record(text))
    return found["language"], found["confidence"]


def code_language(answer, **options):
    found = CodeLanguage(CodeLanguageOptions(**options)).measure(record("", answer))
    return found["language"], found["confidence"]


def syntax(answer, **options):
    return Syntax(SyntaxOptions(**options)).measure(record("", answer))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "Write a function that returns the largest of three numbers."),
        ("de", "Schreibe eine Funktion, die das größte von drei Elementen zurückgibt."),
        ("fr", "Écris une fonction qui renvoie le plus grand de trois nombres."),
        ("es", "Escribe una función que devuelva el mayor de tres números."),
        ("zh", "写一个函数，返回三个数中最大的一个。"),
        ("ja", "三つの数のうち最大のものを返す関数を書いてください。"),
        ("ru", "Напишите функцию, которая возвращает наибольшее из трёх чисел."),
        ("ar", "اكتب دالة تعيد أكبر عدد من بين ثلاثة أعداد."),
    ],
)
def test_languages(code, text):
    assert language(text)[0] == code
    assert language(text)[1] > 0.5
    assert language(text, any_of=[code])[1] > 0.5
    other = "en" if code != "en" else "de"
    assert language(text, any_of=[other])[1] < 0.2
    both = language(text, any_of=[code, other])[1]
    one, two = (language(text, any_of=[name])[1] for name in (code, other))
    assert both == pytest.approx(one + two)


def test_fewer_languages_to_think_of_are_surer():
    text = "Reverse a string."
    few = language(text, any_of=["en"], among=["de", "fr"])[1]
    assert few > language(text, any_of=["en"])[1] > language(text, any_of=["en"], among=[])[1]


def test_code_in_a_text_is_not_looked_at():
    text = "Was macht dieser kleine Abschnitt hier?\n```python\nprint('the quick brown fox')\n```"
    assert language(text)[0] == "de"
    assert language("```\nwords of code\n```") == (None, pytest.approx(math.nan, nan_ok=True))


def test_an_unknown_language_is_an_error_that_lists_the_known():
    with pytest.raises(UsageError, match=r"'english' is not known.*, en, "):
        NaturalLanguage(LanguageOptions(any_of=["english"]))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_have_a_number_or_none(text):
    for found in (
        NaturalLanguage(LanguageOptions(of="both")).measure(record(text, text)),
        CodeLanguage(CodeLanguageOptions()).measure(record(text, text)),
        syntax(text),
        syntax(text, unlabelled="python"),
        syntax(f"```c\n{text}\n```"),
    ):
        assert all(n is None or isinstance(n, str | float) for n in found.values())
        assert all(not isinstance(n, float) or math.isnan(n) or n >= 0 for n in found.values())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("```Python3\nx\n```", ("python", 1)),
        ("```js\nx\n```\n```py\nxxxxxxxx\n```", ("python", 9 / 11)),
        ("```text\nx\n```", None),
        ("No code at all, only a few words of prose in a plain sentence.", None),
        ("", None),
    ],
)
def test_the_word_behind_a_fence_is_believed(answer, expected):
    name, confidence = code_language(answer)
    if expected is None:
        assert name is None
        assert math.isnan(confidence)
    else:
        assert (name, confidence) == (expected[0], pytest.approx(expected[1]))
    if expected:
        assert code_language(answer, any_of=["PY"])[1] == pytest.approx(expected[1])
        assert code_language(answer, any_of=["rust"])[1] == 0


PYTHON = (
    "def add(a, b):\n    '''Sum.'''\n    return a + b\n\n\nfor n in range(3):\n    print(add(n, 1))"
)


def test_code_without_a_fence_is_detected():
    assert code_language(PYTHON)[0] == "python"
    assert code_language(PYTHON, any_of=["python"])[1] > 0.5
    assert code_language(f"```\n{PYTHON}\n```", any_of=["rust"])[1] == 0
    assert code_language(PYTHON, unlabelled="skip")[0] is None
    assert code_language("x", unlabelled="rb") == ("ruby", 1)
    # A fence says that there is code, though nobody knows in what.
    assert code_language("```\n???\n```", any_of=["python"])[1] == 0


SOUND = {
    "bash": "for f in *; do echo $f; done\n",
    "c": "int main(void) { return 0; }\n",
    "cpp": "int main() { auto x = [](int a) { return a; }; }\n",
    "csharp": "class A { static void Main() { var x = 1; } }\n",
    "css": "a { color: red; }\n",
    "go": "package main\nfunc main() { println(1) }\n",
    "html": "<p>hello <b>you</b></p>\n",
    "java": "class A { void f() { int x = 1; } }\n",
    "javascript": "const f = (a) => { return a + 1; };\n",
    "json": '{"a": [1, 2, {"b": null}]}\n',
    "php": "<?php function f($a) { return $a; } ?>\n",
    "python": "def f(a):\n    return [x for x in a]\n",
    "ruby": "def f(a)\n  a.map { |x| x + 1 }\nend\n",
    "rust": "fn main() { let x: Vec<u8> = vec![]; }\n",
    "tsx": "const a = (x: number) => <p>{x}</p>;\n",
    "typescript": "interface A { b: string }\nconst f = (a: A): string => a.b;\n",
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_grammar_tells_sound_code_from_broken(name):
    code = SOUND[name]
    found = syntax(f"So:\n\n```{name}\n{code}```\n")
    assert found == {"errors": 0, "error_share": 0, "judged": len(code), "language": name}
    wrong = {"html": "<p <<b>\n", "css": "a { color: red; ) \n"}.get(name, code[:-6] + " ((( \n")
    assert syntax(f"```{name}\n{wrong}```")["errors"] >= 1


@pytest.mark.parametrize(
    "cut",
    ["def f(a):\n", "class A:", "def f(a):\n    if a:\n", "x = [1,\n", "s = '''a\nb\n", "f(1"],
)
def test_python_that_was_cut_off_has_an_error(cut):
    assert syntax(f"```py\nx = 1\n{cut}")["errors"] >= 1
    assert faults("python", cut.encode()).errors >= 1


def test_what_is_no_code_or_has_no_grammar_is_null():
    for answer in ("```cobol\nDISPLAY 1\n```", "Only words here, which nobody would run.", ""):
        found = syntax(answer)
        assert math.isnan(found["errors"])
        assert math.isnan(found["error_share"])
        assert (found["judged"], found["language"]) == (0, None)
        assert syntax(answer, no_code="sound")["errors"] == 0
    long = "```py\nx = 1\n```"
    assert math.isnan(syntax(long, no_code="sound", longest=3)["errors"])
    assert syntax("x = (", unlabelled="py")["errors"] == 1
    assert math.isnan(syntax("x = (", unlabelled="skip")["errors"])
    with pytest.raises(ValidationError, match="there is no grammar of 'cobol'"):
        SyntaxOptions(unlabelled="cobol")


def test_several_pieces_count_together():
    found = syntax("```py\nx = 1\n```\n\n```js\nlet a = ;;; )))\n```\n```cobol\n?\n```")
    assert found["judged"] == 6 + 16
    assert found["language"] == "javascript"
    assert found["errors"] >= 1
    assert 0 < found["error_share"] < 1


@pytest.mark.parametrize("code", ["(" * 90_000, "[" * 45_000 + "]" * 45_000, "if x:\n " * 10_000])
def test_deep_code_is_judged_without_recursion(code):
    assert syntax(code, unlabelled="python")["judged"] == len(code)


def test_what_is_too_long_is_not_judged():
    found = syntax("```py\n" + "x = 1\n" * 200_000 + "```\n```py\ny\n```")
    assert math.isnan(found["errors"])
    assert syntax("x = 1\n" * 30_000, unlabelled="py", longest=200_000)["errors"] == 0


RECIPE = """
version: 1
name: clean
input: {use: docstrings, limit: 80, damage: {cut: 20}, min_answer: 80, max_answer: 600}
steps:
  - {id: english, use: language, any_of: [en], keep: {min: 0.1}}
  - {id: python, use: code_language, any_of: [python], unlabelled: python, keep: {min: 0.5}}
  - {id: parses, use: syntax, unlabelled: python, keep: {max: 0}}
  - {id: some, use: length, group: english.language, keep: {quota: 10}}
output: {use: jsonl, path: out}
"""


def test_damaged_functions_do_not_parse_and_languages_are_groups(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    report = qaqfilter.run(path)
    steps = {step.id: step for step in report.steps}
    assert steps["english"].kept > 60
    assert steps["python"].kept == steps["python"].read
    table = pq.read_table(report.files["scores"]).to_pydict()
    for row, errors in enumerate(table["parses.errors"]):
        if errors is not None:
            assert table["parses.language"][row] == "python"
    assert 5 <= steps["parses"].rejected["max"] <= 25
    assert report.kept <= 10 * len(steps["some"].groups)
    assert {group.name for group in steps["some"].groups} >= {"en"}


def test_the_example_runs(tmp_path):
    example = Path(__file__).parent.parent / "examples" / "clean.yaml"
    report = qaqfilter.run(example, overrides=[f"output.path={tmp_path / 'out'}"])
    assert [step.use for step in report.steps][1:5] == [
        "exact_duplicates", "near_duplicates", "language", "syntax",
    ]  # fmt: skip
    assert report.steps[4].rejected["max"] >= 1
    assert 20 < report.kept < 100


def test_an_extra_that_is_missing_is_named(tmp_path, monkeypatch):
    from qaqfilter import manager

    monkeypatch.setattr(manager, "is_installed", lambda name: False)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(qaqfilter.RecipeError) as raised:
        qaqfilter.load_recipe(tmp_path / "recipe.yaml")
    assert "pip install 'qaqfilter[language]'" in str(raised.value)
    assert "pip install 'qaqfilter[syntax]'" in str(raised.value)
