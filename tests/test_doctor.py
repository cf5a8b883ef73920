"""The doctor says what is installed, and a wrong backend fails its self-test."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import numpy as np
import pytest

from qaqfilter import LIKELIHOODS, Component, QaqfilterError, TokenSequence
from qaqfilter_doctor import command
from qaqfilter_doctor.records import COUNT, selftest_window
from qaqfilter_doctor.selftest import Outcome, check, expected_numbers, run_selftest

MODEL = "builtin:weak"


def doctor(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "qaqfilter", "doctor", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_doctor_says_what_is_here():
    done = doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("python", "llama-cpp-python", "torch", "transformers", "cpu", "selector rmi"):
        assert words in done.stdout


def test_a_broken_plugin_is_named_and_fails(tmp_path):
    info = tmp_path / "rotten-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rotten\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[qaqfilter]\nrotten = qaqfilter_no_such_module\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); from qaqfilter.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "rotten 0.1" in done.stdout
    assert "BROKEN: ModuleNotFoundError" in done.stdout
    assert "1 plugins are broken" in done.stderr

    as_json = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert as_json.returncode == 1
    (broken,) = json.loads(as_json.stdout)["broken"]
    assert broken["plugin"] == "rotten"
    assert "qaqfilter_no_such_module" in broken["error"]


def test_the_doctor_as_json():
    done = doctor("--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == np.__version__
    assert {one["name"] for one in found["backends"]} >= {"reference", "ngram"}
    assert {"cpu"} <= set(found["backends"][0]["devices"])
    ours = [one for one in found["components"] if one["name"] == "rmi"]
    assert [one["kind"] for one in ours] == ["selector"]
    assert found["broken"] == found["blocked"] == []
    assert found["selftest"] is None


def test_a_failed_self_test_as_json(capsys, monkeypatch):
    outcomes = [
        Outcome("a", "cpu", "m", 0.1, {"query": 0.01}),
        Outcome("b", "cpu", "m", 0.1, {"query": 0.2, "answer": float("nan")}),
        Outcome("c", "gpu", "m", 0.1, {}, error="no memory"),
    ]
    monkeypatch.setattr(command, "run_selftest", lambda manager: iter(outcomes))
    with pytest.raises(QaqfilterError, match="2 self-tests failed"):
        command.doctor.main(["--json", "--selftest"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)["selftest"]
    assert [one["passed"] for one in told] == [True, False, False]
    assert [one["error"] for one in told] == [
        None,
        "its numbers differ from the stored ones",
        "no memory",
    ]
    assert told[1]["differences"] == {"query": 0.2, "answer": None}


def test_what_is_missing_is_said_with_the_whole_pip_command(capsys, monkeypatch):
    from qaqfilter import manager
    from qaqfilter_doctor.command import doctor as command

    monkeypatch.setattr(manager, "is_installed", lambda module: module != "torch")
    command.main([], standalone_mode=False)
    assert "pip install 'qaqfilter[transformers]'" in capsys.readouterr().out


def test_the_records_are_what_the_numbers_were_made_of():
    window = selftest_window()
    assert len(window.records) == COUNT == 200
    assert len({record.query for record in window.records}) > 150
    for numbers in expected_numbers().values():
        for name in LIKELIHOODS:
            assert len(numbers[name]["logprob"]) == len(numbers[name]["tokens"]) == COUNT
            assert max(numbers[name]["logprob"]) < 0


def test_every_installed_backend_passes(manager):
    outcomes = list(run_selftest(manager))
    assert {o.backend for o in outcomes} == {"llamacpp", "reference", "transformers"}
    assert {o.model for o in outcomes} == {"builtin:strong", "builtin:weak"}
    for outcome in outcomes:
        assert outcome.passed, outcome
        assert set(outcome.differences) == set(LIKELIHOODS)
        # Measured, not assumed: float32 is not float64.
        assert max(outcome.differences.values()) > 0


class Proxy:
    """Another backend with something wrong in between."""

    def __init__(self, backend) -> None:
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)


class OffByOne(Proxy):
    """Scores the token before the one that it should."""

    def logprobs(self, sequences):
        moved = [
            TokenSequence(s.ids, tuple((max(1, a - 1), max(1, b - 1)) for a, b in s.spans))
            for s in sequences
        ]
        found = self._backend.logprobs(moved)
        return [
            tuple(np.resize(a, e - s) for a, (s, e) in zip(arrays, q.spans, strict=True))
            for arrays, q in zip(found, sequences, strict=True)
        ]


class NoStart(Proxy):
    """Forgets the start token: sees another first token in its place."""

    def logprobs(self, sequences):
        moved = [TokenSequence((s.ids[1], *s.ids[1:]), s.spans) for s in sequences]
        return self._backend.logprobs(moved)


class Drifting(Proxy):
    """A build whose numbers drift by a hundredth of a nat."""

    def logprobs(self, sequences):
        return [tuple(a - 0.01 for a in arrays) for arrays in self._backend.logprobs(sequences)]


class OtherTokens(Proxy):
    """Splits text otherwise."""

    def encode(self, text, *, markup):
        found = self._backend.encode(text, markup=markup)
        return [*found, found[-1]] if found else found


class Failing(Proxy):
    """Does not run at all."""

    def logprobs(self, sequences):
        raise RuntimeError("illegal instruction")


@pytest.mark.parametrize("wrong", [OffByOne, NoStart, Drifting, OtherTokens, Failing])
def test_a_wrong_build_fails(manager, wrong):
    right = manager.require("backend", "reference")
    component = Component(
        "reference", right.config, lambda c, r: wrong(right.create(c, r)), "a wrong one"
    )
    numbers = expected_numbers()[MODEL]
    outcome = check(manager, component, device="cpu", model=MODEL, options={}, numbers=numbers)
    assert not outcome.passed
    if wrong is Failing:
        assert "RuntimeError: illegal instruction" in outcome.error
    straight = check(manager, right, device="cpu", model=MODEL, options={}, numbers=numbers)
    assert straight.passed, straight
