"""Whole runs with models that are at fault: one plain error says which, why, and how to mend it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pyarrow.parquet
import pytest

import qaqfilter
from qaqfilter import (
    LIKELIHOODS,
    BackendError,
    BackendHung,
    ModelError,
    Origin,
    RecipeError,
    Record,
    Status,
    StoreError,
    TokenSequence,
    TooManyBadRecords,
    Window,
)
from qaqfilter.blame import Culprit
from qaqfilter.cli import run_cli
from qaqfilter.digests import checked, weight_files
from qaqfilter.execution import Nulls, WindowScores
from qaqfilter.hanging import Watch, _Task
from qaqfilter.manager import load_plugins
from qaqfilter.model_files import ModelFiles
from qaqfilter.nulls import NullLimit, not_finite
from qaqfilter.planning import check_results
from qaqfilter.recipe import load_recipe
from qaqfilter.stages import ScoringStage
from tiny_models import export_gguf, make_model

NAMED = "model 'toy' (sick)"

# --- a stranger's backend that falls ill where it is told to

SICK = """
import os, sys, time
from concurrent import futures
from collections.abc import Iterator
from typing import Any
import numpy as np
from pydantic import Field
from qaqfilter import Component, Options, hookimpl

class SickOptions(Options):
    ill: str = Field("", description="Where it is ill.")
    what: str = Field("RuntimeError('it broke')", description="What it does, in Python.")
    after: int = Field(0, description="How many batches go well before.")

class Sick:
    max_length, start_token, adds_start, chat_template = 4096, 256, True, None

    def __init__(self, config, resources):
        self.config, self.batches, self.closed = config, 0, False
        self.does("create")
        self.facts = {"backend": "sick"}

    def does(self, place, default=None):
        if self.config.ill != place:
            return default
        done = eval(self.config.what)
        if isinstance(done, BaseException):
            raise done
        return done

    @property
    def batch_tokens(self):
        return self.does("batch_tokens", 40)

    def encode(self, text, *, markup):
        return self.does("encode", list(text.encode()))

    def logprobs(self, sequences):
        self.batches += 1
        answer = [
            tuple(-np.ones(end - start) for start, end in sequence.spans)
            for sequence in sequences
        ]
        return answer if self.batches <= self.config.after else self.does("logprobs", answer)

    def close(self):
        self.does("close")

@hookimpl
def qaqfilter_backends() -> Iterator[Component[Any]]:
    yield Component("sick", SickOptions, Sick, "a backend that is ill")
"""


@pytest.fixture
def sick(tmp_path):
    """Write the plugin, data and a recipe; gives (recipe, plugin)."""

    def make(ill: str = "", what: str = "RuntimeError('it broke')", after: int = 0, run: str = ""):
        plugin = tmp_path / "sick.py"
        plugin.write_text(SICK)
        (tmp_path / "data.jsonl").write_text(
            "".join(
                json.dumps({"query": f"q{i}", "answer": f"answer {i}"}) + "\n" for i in range(8)
            )
        )
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            "version: 1\nname: sick\ninput: {use: jsonl, path: data.jsonl}\n"
            f"models:\n  toy: {{use: sick, ill: {ill!r}, after: {after},\n"
            f"    what: {json.dumps(what)}}}\n"
            "steps:\n  - {id: rmi, use: rmi}\noutput: {use: jsonl, path: out}\n"
            f"run: {{store: store, window: 4{run}}}\n"
        )
        return recipe, plugin

    return make


def run(made):
    recipe, plugin = made
    return qaqfilter.run(recipe, plugins=[plugin])


def stored(folder: Path) -> int:
    """How many scores the store of a run holds."""
    parts = (folder / "store").rglob("*.parquet")
    return sum(pyarrow.parquet.read_metadata(part).num_rows for part in parts)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("RuntimeError('it broke')", "scoring failed: RuntimeError: it broke (at "),
        ("MemoryError()", "take a smaller model"),
        ("[][3]", "IndexError: list index out of range"),
        ("{}['x']", "KeyError: 'x'"),
        ("sys.exit(7)", "SystemExit: 7"),
        ("1 / 0", "ZeroDivisionError"),
        ("RecursionError('deep\\n\\ndown')", "RecursionError: deep down (at "),
        ("BaseException('a panic')", "BaseException: a panic"),
    ],
)
def test_whatever_a_backend_raises_names_the_model(sick, tmp_path, what, said):
    with pytest.raises(BackendError) as caught:
        run(sick("logprobs", what, after=3))
    message = str(caught.value)
    assert message.startswith(f"{NAMED}: ")
    assert said in message
    assert caught.value.__cause__ is not None
    assert stored(tmp_path) > 0  # what was scored before
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("ill", "kind", "said"),
    [
        ("create", ModelError, "loading it failed: RuntimeError: it broke"),
        ("encode", BackendError, "preparing its texts failed: RuntimeError: it broke"),
        ("batch_tokens", BackendError, "choosing its batch size failed: RuntimeError: it broke"),
        ("close", BackendError, "closing it failed: RuntimeError: it broke"),
    ],
)
def test_wherever_a_backend_raises_the_model_is_named(sick, ill, kind, said):
    with pytest.raises(kind) as caught:
        run(sick(ill))
    assert str(caught.value).startswith(f"{NAMED}: {said}")


@pytest.mark.parametrize(
    ("ill", "what"),
    [
        ("encode", "None"),
        ("encode", "['a', 'b']"),
        ("encode", "[2 ** 70]"),
        ("encode", "'text'"),
        ("batch_tokens", "0"),
        ("batch_tokens", "'many'"),
        ("batch_tokens", "None"),
    ],
)
def test_nonsense_from_a_backend_names_the_model(sick, ill, what):
    with pytest.raises(BackendError) as caught:
        run(sick(ill, what))
    assert str(caught.value).startswith(NAMED)


def test_on_the_command_line_there_is_no_traceback(sick, capsys):
    recipe, plugin = sick("logprobs")
    assert run_cli(["run", str(recipe), "--plugin", str(plugin)]) == 1
    told = capsys.readouterr().err
    assert f"error: {NAMED}: scoring failed: RuntimeError: it broke (at {plugin}:" in told
    assert "Traceback" not in told


def test_the_first_fault_is_told_not_that_of_closing():
    closed = []

    class Twice(Healthy):
        def logprobs(self, sequences):
            raise ValueError("first")

        def close(self):
            closed.append(True)
            raise ValueError("second")

    with pytest.raises(BackendError, match="ValueError: first"):
        list(stage_of(Twice()))
    assert closed == [True]


def test_a_backends_own_words_stay_and_others_errors_pass():
    culprit = Culprit("m", "llamacpp", "path:/models/m.gguf")
    whole = r"^model 'm' \(llamacpp, path:/models/m\.gguf\): no$"
    with pytest.raises(BackendError, match=whole), culprit.blamed("scoring"):
        raise BackendError("no")
    short, error = r"^model 'm': /models/m\.gguf is cut$", ModelError("/models/m.gguf is cut")
    with pytest.raises(ModelError, match=short), culprit.blamed("a"), culprit.blamed("b"):
        raise error
    for kind in (StoreError, KeyboardInterrupt):
        with pytest.raises(kind, match=r"^as it was$"), culprit.blamed("scoring"):
            raise kind("as it was")


# --- answers that are none

SEQUENCES = [TokenSequence((1, 2, 3), ((1, 3), (2, 3))), TokenSequence((4, 5), ((1, 2),))]


def answer():
    return [(np.array([-1.0, -2.0]), np.array([-2.0])), (np.array([-0.5]),)]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "text",
        b"ab",
        {0: (), 1: ()},
        np.zeros((2, 1)),
        (x for x in answer()),
        [None, None],
        ["ab", "c"],
        [np.array([-1.0, -2.0]), np.array([-1.0])],
        [([-1.0, -2.0], [-2.0]), ([-0.5],)],
        [(-1.0, -2.0), (-0.5,)],
        [(None, None), (None,)],
        [("ab", "c"), ("d",)],
        [(np.array(["a", "b"]), np.array(["c"])), (np.array(["d"]),)],
        [(np.array([None, None]), np.array([None])), (np.array([None]),)],
        [(np.array([True, True]), np.array([False])), (np.array([False]),)],
        [(np.array([-1j, -2j]), np.array([-2j])), (np.array([-1j]),)],
        [(np.array([[-1.0], [-2.0]]), np.array([-2.0])), (np.array([-0.5]),)],
        [(np.array(-1.0), np.array(-1.0)), (np.array(-0.5),)],
        [(np.ma.masked_array([-1.0, -2.0]), np.array([-2.0])), (np.array([-0.5]),)],
        answer()[:1],
        [*answer(), ()],
        [answer()[1], answer()[0]],
        [answer()[0][:1], answer()[1]],
        [answer()[0], (np.array([0.1]),)],
        [answer()[0], (np.array([np.inf]),)],
    ],
)
def test_what_is_no_answer_is_refused(wrong):
    with pytest.raises(BackendError, match=r"^(gave|answered)"):
        check_results(SEQUENCES, wrong)


def test_what_is_an_answer_passes():
    right = answer()
    assert check_results(SEQUENCES, right) is right
    right[1][0][0] = np.nan
    right[0][1][0] = -np.inf
    check_results(SEQUENCES, right)


def test_an_answer_of_nothing_is_told_by_a_run(sick):
    with pytest.raises(BackendError, match="object of the kind NoneType") as caught:
        run(sick("logprobs", "None"))
    assert str(caught.value).startswith(f"{NAMED}: answered with an object of")


# --- hanging


class Healthy:
    """A backend whose methods tests replace; every token has log-probability -1."""

    max_length, start_token, adds_start, chat_template = 4096, 256, True, None
    batch_tokens = 64
    facts: ClassVar = {"backend": "healthy"}

    def encode(self, text, *, markup):
        return list(text.encode())

    def logprobs(self, sequences):
        return [tuple(-np.ones(b - a) for a, b in sequence.spans) for sequence in sequences]

    def close(self):
        pass


def windows(count: int = 2):
    for index in range(count):
        records = tuple(
            Record(f"{n}", f"query {n}", f"answer {n}", b"", Origin("data.jsonl", n, n + 1))
            for n in range(3 * index, 3 * index + 3)
        )
        yield Window(index, np.arange(3 * index, 3 * index + 3), records)


def stage_of(backend, given=None, **options):
    """Score windows with a backend that is there already."""
    from qaqfilter import Component, Options
    from qaqfilter.blocks import Block

    manager = load_plugins()
    plain = manager.component("prompt", "plain")
    made = Component("given", Options, lambda config, resources: backend, "given")
    stage = ScoringStage(
        "step@toy",
        Block(made, Options()),
        Block(plain, plain.config()),
        LIKELIHOODS,
        resources=None,
        **options,
    )
    with stage.open() as score:
        yield from score(windows() if given is None else given)


def watched_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "watched backend" and t.is_alive()]


def test_a_backend_that_hangs_is_left_alone():
    until, calls = threading.Event(), []

    class Hangs(Healthy):
        def logprobs(self, sequences):
            calls.append(threading.current_thread())
            if len(calls) > 2:
                until.wait()
            return super().logprobs(sequences)

        def close(self):
            calls.append("closed")

    try:
        with pytest.raises(BackendHung) as caught:
            list(stage_of(Hangs(), window_seconds=0.3))
    finally:
        until.set()
    message = str(caught.value)
    assert message.startswith("model 'toy' (given): one window, of 3 records from data.jsonl:")
    assert "run.window_seconds = 0.3" in message
    assert "closed" not in calls
    assert len(set(calls)) == 1  # one thread for all calls
    assert calls[0] is not threading.main_thread()


def test_a_tokeniser_that_hangs_is_found_out_too():
    until = threading.Event()

    class Hangs(Healthy):
        def encode(self, text, *, markup):
            if "4" in text and len(text) < 100:  # not the text that tells tokenizers apart
                until.wait()
            return super().encode(text, markup=markup)

    try:
        with pytest.raises(BackendHung, match=r"from data\.jsonl:4 to data\.jsonl:6"):
            list(stage_of(Hangs(), window_seconds=0.3))
    finally:
        until.set()


def test_the_time_of_a_window_is_that_of_all_its_batches_but_not_of_loading():
    class Slow(Healthy):
        def load(self):
            time.sleep(0.5)

        def logprobs(self, sequences):
            time.sleep(0.1)
            return super().logprobs(sequences)

    slow = Slow()
    slow.batch_tokens = 8
    with pytest.raises(BackendHung):
        list(stage_of(slow, window_seconds=0.25))
    slow.batch_tokens = 4096  # one batch a window
    assert len(list(stage_of(slow, window_seconds=0.35))) == 2


def test_without_a_limit_there_is_no_thread_and_with_one_it_ends():
    where = []

    class Tells(Healthy):
        def logprobs(self, sequences):
            where.append(threading.current_thread())
            return super().logprobs(sequences)

    free = list(stage_of(Tells()))
    assert set(where) == {threading.main_thread()}
    where.clear()
    limited = list(stage_of(Tells(), window_seconds=60.0))
    assert threading.main_thread() not in where
    for one, other in zip(free, limited, strict=True):
        for name in LIKELIHOODS:
            assert (one.columns[name].logprob == other.columns[name].logprob).all()
    for thread in watched_threads():
        thread.join(10)
    assert not watched_threads()


def test_what_is_raised_on_the_thread_comes_out_where_the_call_was_made():
    class Breaks(Healthy):
        def logprobs(self, sequences):
            raise LookupError("lost")

    with pytest.raises(BackendError, match=r"scoring failed: LookupError: lost \(at .*bad_models"):
        list(stage_of(Breaks(), window_seconds=60.0))


def test_ctrl_c_stops_the_call_before_the_backend_is_closed(monkeypatch):
    events, started = [], threading.Event()

    class Interrupted(Healthy):
        def logprobs(self, sequences):
            try:
                for _ in range(1000):
                    started.set()
                    time.sleep(0.01)
            finally:
                events.append("stopped")

        def close(self):
            events.append("closed")

    once = []

    def interrupted(self, task, deadline, plain=Watch._await):
        if getattr(task.function, "__name__", "") == "logprobs" and not once:
            once.append(True)
            started.wait(10)
            raise KeyboardInterrupt
        plain(self, task, deadline)

    monkeypatch.setattr(Watch, "_await", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(stage_of(Interrupted(), window_seconds=60.0))
    assert events == ["stopped", "closed"]


def test_a_second_ctrl_c_does_not_wait(monkeypatch):
    def interrupted(self, task, deadline):
        raise KeyboardInterrupt

    until = threading.Event()
    watch = Watch(Culprit("m"), 60.0)
    watch.begin(next(windows(1)))
    monkeypatch.setattr(Watch, "_await", interrupted)
    with pytest.raises(BackendHung, match="interrupted twice"):
        watch.call(until.wait, 10)
    until.set()
    watch.close()


def test_a_call_that_was_interrupted_before_it_began_is_not_made():
    made = []
    task = _Task(made.append, (1,))
    task.cancel(threading.main_thread())
    task.run()
    assert made == []


def test_a_watch_works_again_after_it_was_closed():
    watch = Watch(Culprit("m"), 60.0)
    for number in (3, 4):
        watch.begin(next(windows(1)))
        assert watch.call(pow, number, 2) == number**2
        watch.close()


def test_the_command_ends_though_native_code_hangs(sick, tmp_path):
    """Python would wait for the thread that sleeps inside the pool, longer than this waits."""
    hang = "futures.ThreadPoolExecutor().submit(time.sleep, 60).result()"
    recipe, plugin = sick("logprobs", hang, after=2, run=", window_seconds: 1")
    words = [sys.executable, "-m", "qaqfilter", "run", str(recipe), "--plugin", str(plugin)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 1
    assert f"error: {NAMED}: one window, of 4 records from data.jsonl:" in done.stderr
    assert "Traceback" not in done.stderr
    assert stored(tmp_path) > 0


@pytest.mark.parametrize("value", ["0", "-1", ".inf", ".nan", "soon"])
def test_a_limit_is_a_positive_number(sick, value):
    recipe, plugin = sick(run=f", window_seconds: {value}")
    with pytest.raises(RecipeError, match=r"run\.window_seconds"):
        load_recipe(recipe, load_plugins([plugin]))


# --- numbers that are none


def scores_of(rows: int, bad: int = 0, first: Origin | None = None) -> WindowScores:
    empty = np.zeros(rows, dtype=np.int64)
    nulls = Nulls(bad, first) if first else None
    return WindowScores(empty, {}, empty, None, 1, {"backend": "x"}, nulls)


def test_nulls_are_counted_by_record():
    nan, fine = int(Status.NOT_FINITE), int(Status.TOO_LONG)
    one = np.array([0, fine, nan, 0], dtype=np.int8)
    two = np.array([0, 0, nan, nan], dtype=np.int8)
    each = np.arange(4)
    records = [Record(str(n), "q", "a", b"", Origin("x", n)) for n in each.tolist()]
    assert not_finite([one, two], each, records) == Nulls(2, Origin("x", 2))
    assert not_finite([one], each, records) == Nulls(1, Origin("x", 2))
    assert not_finite([one[:2], two[:2]], each[:2], records) is None
    # Two exchanges of one conversation are one record.
    assert not_finite([one, two], np.array([0, 0, 1, 1]), records) == Nulls(1, Origin("x", 1))


@pytest.mark.parametrize(
    ("max_errors", "allowed"), [(0, 0), (0.01, 10), (0.0199, 19), (1, 1), (5, 5), (0.999, 999)]
)
def test_the_limit_is_a_share_of_all_records_or_a_count(max_errors, allowed):
    counter = NullLimit("model 'm'", 1000, max_errors)
    counter.see(scores_of(0))
    first = Origin("data.jsonl", 6, 7)
    if allowed:
        counter.see(scores_of(600, allowed, first))
    with pytest.raises(TooManyBadRecords) as caught:
        counter.see(scores_of(100, 1, first if not allowed else Origin("data.jsonl", 99, 99)))
    message = str(caught.value)
    seen = 700 if allowed else 100
    assert f"for {allowed + 1} of the {seen} records scored so far" in message
    assert f"input.max_errors = {max_errors:g}" in message
    assert "the first is data.jsonl:7." in message
    assert "qaqfilter cache clear " in message
    assert "bfloat16" in message


def test_nulls_below_the_limit_are_the_records_affair(sick, tmp_path):
    ill = SICK.replace('self.does("logprobs", answer)', "self.poisoned(sequences, answer)").replace(
        "    def close(self)",
        "    def poisoned(self, sequences, answer):\n"
        "        bad = [51 in s.ids for s in sequences]  # the digit 3\n"
        "        factor = [np.nan if b else 1.0 for b in bad]\n"
        "        return [tuple(a * f for a in t) for t, f in zip(answer, factor)]\n\n"
        "    def close(self)",
    )
    assert ill != SICK
    recipe, plugin = sick()
    plugin.write_text(ill)
    report = qaqfilter.run(recipe, plugins=[plugin], overrides=["input.max_errors=1"])
    assert (report.kept, report.rejected) == (8, 0)
    table = pyarrow.parquet.read_table(tmp_path / "out" / "scores.parquet")
    nulls = [value is None for value in table["rmi.rmi"].to_pylist()]
    assert nulls == [False, False, False, True, False, False, False, False]
    with pytest.raises(TooManyBadRecords, match=r"for 1 of the 4 records.*is data\.jsonl:4\."):
        qaqfilter.run(recipe, plugins=[plugin], replace=True)


# --- digests

OTHER = "ab" * 32


def weights_in(folder: Path, *names: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return {name: hashlib.sha256(name.encode()).hexdigest() for name in names}


def files_in(folder: Path, form: str = "safetensors") -> ModelFiles:
    return ModelFiles(folder, form, "digest")


def test_one_file_has_one_digest(tmp_path):
    (digest,) = weights_in(tmp_path, "model.safetensors").values()
    (tmp_path / "config.json").write_text("{}")
    files = files_in(tmp_path)
    assert checked(files, digest) is files
    assert checked(files, {"model.safetensors": digest}) is files
    with pytest.raises(ModelError) as caught:
        checked(files, OTHER)
    for part in (str(tmp_path / "model.safetensors"), digest, OTHER, "fetch it again"):
        assert part in str(caught.value)


def test_several_files_are_all_named(tmp_path):
    digests = weights_in(tmp_path, "a.safetensors", "b.safetensors")
    files = files_in(tmp_path)
    assert checked(files, digests) is files
    with pytest.raises(ModelError, match=r"holds 2 weight files \(a\.safetensors, b"):
        checked(files, OTHER)
    with pytest.raises(ModelError, match=r"has no digest for b\.safetensors"):
        checked(files, {"a.safetensors": digests["a.safetensors"]})
    with pytest.raises(ModelError, match=r"does not have: c\.safetensors"):
        checked(files, digests | {"c.safetensors": OTHER})
    with pytest.raises(ModelError, match=r"b\.safetensors: its SHA-256 is"):
        checked(files, digests | {"b.safetensors": OTHER})


def test_a_split_gguf_is_all_its_parts(tmp_path):
    names = [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    digests = weights_in(tmp_path, *names, "other.gguf")
    del digests["other.gguf"]
    first = files_in(tmp_path / names[0], "gguf")
    assert [path.name for path in weight_files(first)] == names
    assert checked(first, digests) is first
    lone = files_in(tmp_path / "other.gguf", "gguf")
    assert [path.name for path in weight_files(lone)] == ["other.gguf"]


def recipe_of(folder: Path, use: str, location: str, more: str = "") -> Path:
    """A run of `use` over three records, into a store of its own."""
    (folder / "data.jsonl").write_text(
        "".join(json.dumps({"query": f"add {i}", "answer": f"a + {i}"}) + "\n" for i in range(3))
    )
    where = f", model: {location}" if location else ""
    path = folder / "recipe.yaml"
    path.write_text(
        "version: 1\nname: bad\ninput: {use: jsonl, path: data.jsonl}\n"
        f"models: {{toy: {{use: {use}{where}{more}}}}}\nsteps:\n  - {{id: rmi, use: rmi}}\n"
        "output: {use: jsonl, path: out}\nrun: {store: store}\n"
    )
    return path


def told(capsys, recipe: Path) -> str:
    """The one line of error of a run on the command line that fails."""
    assert run_cli(["run", str(recipe), "--replace"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: model 'toy'")
    return line


def test_a_recipe_pins_its_weights(models, tmp_path, capsys):
    digest = hashlib.sha256((models / "llama" / "model.safetensors").read_bytes()).hexdigest()
    shutil.copytree(models / "llama", tmp_path / "m")
    recipe = recipe_of(tmp_path, "reference", "m", f", sha256: {digest.upper()}")
    assert run_cli(["run", str(recipe)]) == 0
    recipe = recipe_of(tmp_path, "reference", "m", f", sha256: {{model.safetensors: {OTHER}}}")
    assert f"its SHA-256 is {digest}, and the recipe's `sha256` says {OTHER}" in told(
        capsys, recipe
    )


def test_only_the_models_own_files_are_compared(models, tmp_path):
    """A prompt may borrow the template of a model with other weights."""
    digest = hashlib.sha256((models / "llama" / "model.safetensors").read_bytes()).hexdigest()
    shutil.copytree(models / "llama", tmp_path / "m")
    shutil.copytree(models / "llama", tmp_path / "other")
    weights = tmp_path / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    prompt = "{use: chat, template_from: other}"
    recipe = recipe_of(tmp_path, "reference", "m", f", sha256: {digest}, prompt: {prompt}")
    assert qaqfilter.run(recipe).kept == 3


@pytest.mark.parametrize(
    ("use", "location", "value", "said"),
    [
        ("ngram", "", OTHER, "'ngram' loads no weights; remove this key"),
        ("reference", "builtin:weak", "abc", "64 hexadecimal digits"),
        ("reference", "builtin:weak", f"{OTHER[1:]}g", "64 hexadecimal digits"),
        ("reference", "builtin:weak", "7", "64 hexadecimal digits"),
        ("reference", "builtin:weak", "{}", "names no file"),
        ("reference", "builtin:weak", "{model.safetensors: x}", "64 hexadecimal digits"),
        ("reference", "builtin:weak", "[a]", "64 hexadecimal digits"),
    ],
)
def test_a_digest_that_is_none_is_an_error_of_the_recipe(tmp_path, use, location, value, said):
    recipe = recipe_of(tmp_path, use, location, f", sha256: {value}")
    with pytest.raises(RecipeError) as caught:
        qaqfilter.load_recipe(recipe)
    (problem,) = caught.value.problems
    assert "models.toy.sha256" in problem
    assert said in problem


# --- files that are damaged, or not of one model


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A tiny Llama as a folder `llama`, and as `llama.gguf`."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "llama")
    export_gguf(folder / "llama", folder / "llama.gguf")
    return folder


def part_of_header(content: bytes) -> bytes:
    return content[: 8 + int.from_bytes(content[:8], "little") // 2]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda b: b[: len(b) // 2], "is not within the file bounds"),
        (lambda b: b[:-64], "is not within the file bounds"),
        (lambda b: b[:5000], "failed to read key-value pairs"),
        (lambda b: b[:4], "failed to read header"),
        (lambda b: b"", "is not a GGUF file (it begins b'')"),
        (lambda b: b"something else", "is not a GGUF file (it begins b'some')"),
    ],
    ids=["half", "end", "header", "magic", "empty", "other"],
)
def test_a_damaged_gguf(models, tmp_path, capsys, damage, said):
    (tmp_path / "m.gguf").write_bytes(damage((models / "llama.gguf").read_bytes()))
    line = told(capsys, recipe_of(tmp_path, "llamacpp", "m.gguf"))
    assert said in line
    assert str(tmp_path / "m.gguf") in line
    assert "fetch the file again" in line or "replace it" in line


SAFETENSORS = {
    "half": (lambda b: b[: len(b) // 2], "model.safetensors is cut short: it has"),
    "one byte": (lambda b: b[:-1], "model.safetensors is cut short: it has"),
    "too long": (lambda b: b + b"x", "model.safetensors is damaged: it has"),
    "header": (part_of_header, "is cut short inside its header"),
    "empty": (lambda b: b"", "is cut short inside its header (it has 0 bytes)"),
    "length": (lambda b: b"\xff" * 8 + b[8:], "is not a safetensors file"),
    "json": (lambda b: b[:8] + b"x" + b[9:], "the header of model.safetensors is damaged"),
    "list": (lambda b: (2).to_bytes(8, "little") + b"[]", "the header of model.safetensors is"),
    "pointer": (lambda b: b"version https://git-lfs", "run `git lfs pull`"),
}


@pytest.mark.parametrize("use", ["transformers", "reference"])
@pytest.mark.parametrize("case", SAFETENSORS)
def test_a_damaged_safetensors_file(models, tmp_path, capsys, use, case):
    damage, said = SAFETENSORS[case]
    shutil.copytree(models / "llama", tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    line = told(capsys, recipe_of(tmp_path, use, "m"))
    assert said in line
    assert f"path:{tmp_path / 'm'}" in line


def changed(name: str, **values):
    """Edit keys of a JSON file of the model."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | values))

    return change


def without(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


def written(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_more_tokens(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"] |= {f"more{n}": 512 + n for n in range(10)}
    (folder / "tokenizer.json").write_text(json.dumps(content))


INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
FOLDERS = {
    "shard": (written("model.safetensors.index.json", INDEX), "among them model-00001-of-00002"),
    "no config": (without("config.json"), "has safetensors but no config.json; copy it"),
    "config": (written("config.json", "{oops"), "config.json"),
    "config list": (written("config.json", "[1]"), "config.json"),
    "config text": (changed("config.json", hidden_size="many"), "many"),
    "architecture": (changed("config.json", model_type="gpt2"), "gpt2|of one model"),
    "unknown": (changed("config.json", model_type="nosuch"), "nosuch"),
    "width": (changed("config.json", hidden_size=128), "[512, 64]"),
    "more layers": (changed("config.json", num_hidden_layers=3), "model.layers.2."),
    "fewer layers": (changed("config.json", num_hidden_layers=1), "model.layers.1."),
    "no tokenizer": (without("tokenizer.json"), "tokenizer.json"),
    "no tokenizers": (without("tokenizer.json", "tokenizer_config.json"), "tokenizer.json"),
    "tokenizer": (written("tokenizer.json", "{oops"), "tokenizer"),
    "tokenizer list": (written("tokenizer.json", "[]"), "tokenizer"),
    "tokenizer empty": (written("tokenizer.json", "{}"), "tokenizer"),
    "tokenizer config": (written("tokenizer_config.json", "{oops"), "tokenizer"),
    "more tokens": (with_more_tokens, "up to number 521, and the model has embeddings for 512"),
    "fewer embeddings": (changed("config.json", vocab_size=256), "embeddings for 256 (0 to 255)"),
    "pickle": (pickled, "pytorch_model.bin is a pickle"),
}


@pytest.mark.parametrize("use", ["transformers", "reference"])
@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_is_not_one_whole_model(models, tmp_path, capsys, use, case):
    damage, said = FOLDERS[case]
    shutil.copytree(models / "llama", tmp_path / "m")
    damage(tmp_path / "m")
    line = told(capsys, recipe_of(tmp_path, use, "m"))
    assert any(part in line for part in said.split("|"))
    assert f"path:{tmp_path / 'm'}" in line


def test_pickles_are_refused_with_the_way_out(models, tmp_path, capsys):
    (tmp_path / "model.pt").write_bytes(b"x")
    for use in ("transformers", "reference", "llamacpp"):
        line = told(capsys, recipe_of(tmp_path, use, "model.pt" if use else "m"))
        assert "save_pretrained" in line


def test_special_tokens_beyond_the_embeddings_are_no_fault(models, tmp_path):
    """Gemma's text models have such a token, for pictures."""
    shutil.copytree(models / "llama", tmp_path / "m")
    path = tmp_path / "m" / "tokenizer.json"
    content = json.loads(path.read_text())
    picture = content["added_tokens"][0] | {"id": 512, "content": "<picture>"}
    content["added_tokens"].append(picture)
    path.write_text(json.dumps(content))
    for use in ("transformers", "reference"):
        recipe = recipe_of(tmp_path, use, "m")
        assert qaqfilter.run(recipe, replace=True).kept == 3


# --- NaN and infinity from real backends


@pytest.fixture(scope="module", params=["nan", "inf"])
def poisoned(request, models, tmp_path_factory) -> Path:
    """The Llama, as a folder and as GGUF, with an embedding of NaN or infinity for the token Z."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("poisoned") / "llama"
    shutil.copytree(models / "llama", folder)
    loaded = load_file(folder / "model.safetensors")
    weights = {name: value.copy() for name, value in loaded.items()}
    (token,) = ids_of(folder, "Z")
    weights["model.embed_tokens.weight"][token] = float(request.param)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    export_gguf(folder, folder.parent / "llama.gguf")
    return folder


def ids_of(folder: Path, text: str) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def opened(use: str, folder: Path):
    """A backend over the folder, or over the GGUF beside it."""
    manager = load_plugins()
    component = manager.component("backend", use)
    place = folder if use != "llamacpp" else folder.parent / "llama.gguf"
    resources = SimpleNamespace(model_files=manager.locate, records=lambda: iter(()))
    return component.create(component.config(model=f"path:{place}"), resources)


@pytest.mark.parametrize("use", ["transformers", "llamacpp", "reference"])
def test_only_what_holds_the_bad_token_is_null(models, poisoned, use):
    start = "a beginning that all of them have in common, longer than a group of eight tokens; "
    texts = ["and", "then Z comes and much follows behind it, word after word after word", "then a"]
    sequences = []
    for text in texts:
        ids = (0, *ids_of(poisoned, start + text))
        sequences.append(TokenSequence(ids, ((len(ids_of(poisoned, start)) + 1, len(ids)),)))
    with closing(opened(use, poisoned)) as bad, closing(opened(use, models / "llama")) as good:
        for batch in (sequences, [sequences[1]], [sequences[2]], sequences[::-1]):
            found, expected = bad.logprobs(batch), good.logprobs(batch)
            check_results(batch, found)
            for sequence, (ours,), (theirs,) in zip(batch, found, expected, strict=True):
                if sequence is sequences[1]:
                    assert np.isnan(ours).any()
                else:
                    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("use", ["transformers", "llamacpp", "reference"])
def test_a_run_tells_of_nulls_and_where_the_first_is(poisoned, tmp_path, capsys, use):
    place = poisoned if use != "llamacpp" else poisoned.parent / "llama.gguf"
    recipe = recipe_of(tmp_path, use, str(place))
    rows = [{"query": f"add {i}", "answer": "Z" if i in (2, 5) else "b"} for i in range(8)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_cli(["run", str(recipe)]) == 3
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert f"error: model 'toy' ({use}, path:{place}) gave NaN or infinity for 2 of the 8" in err
    assert "the first is data.jsonl:3." in err
    report = qaqfilter.run(recipe, overrides=["input.max_errors=2"])
    assert report.kept == 8
    numbers = pyarrow.parquet.read_table(tmp_path / "out" / "scores.parquet")["rmi.rmi"].to_pylist()
    assert [row for row, number in enumerate(numbers) if number is None] == [2, 5]


@pytest.mark.parametrize(("head", "expected"), [(-np.inf, [-np.inf, -np.log(2)]), (np.inf, None)])
def test_infinite_logits_of_the_reference(head, expected):
    """Two positions, whose hidden states are (1, 1); the head gives 0, ±infinity and 0."""
    from qaqfilter_reference.llama import Llama, Shape

    weights = {
        "model.embed_tokens.weight": np.ones((3, 2)),
        "model.norm.weight": np.ones(2),
        "lm_head.weight": np.array([[0.0, 0.0], [head, 0.0], [0.0, 0.0]]),
    }
    model = Llama(Shape(0, 2, 1, 1, 2, context=4, vocabulary=3, epsilon=0.0, theta=1e4), weights)
    found = model.logprobs(np.array([0, 1, 2]), np.array([1, 2]))
    np.testing.assert_allclose(found, [np.nan, np.nan] if expected is None else expected)


def test_next_to_no_smoothing_gives_a_chance_of_zero_and_no_crash(tmp_path):
    recipe = recipe_of(tmp_path, "ngram", "", ", add_k: 5.0e-324, cache: 0, order: 5")
    (tmp_path / "fit.txt").write_text("nothing of the kind " * 50)
    recipe.write_text(recipe.read_text().replace("order: 5", "order: 1, fit: [fit.txt]"))
    report = qaqfilter.run(recipe, overrides=["input.max_errors=3"])
    assert report.kept == 3
    with pytest.raises(TooManyBadRecords, match=r"model 'toy' \(ngram\) gave NaN or infinity"):
        qaqfilter.run(recipe, replace=True)
