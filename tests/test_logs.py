"""`--log-format json`: what commands write to standard error, and the page that lists it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qaqfilter.cli import run_cli
from qaqfilter.cli.events import JsonLines

STEPS = "  - {id: ifd, use: ifd, model: toy, keep: {fraction: 0.5}}"
PAGE = Path(__file__).parent.parent / "docs" / "logs.md"


def documented() -> dict[str, set[str]]:
    """Event -> its fields beside the common ones, as the page has them."""
    found: dict[str, set[str]] = {}
    for event, fields in re.findall(
        r"^\| `(\w+)` \| .* \| (.*) \|$", PAGE.read_text("utf-8"), re.M
    ):
        found[event] = set(re.findall(r"`(\w+)`", fields))
    found["stage_finished"] = found["progress"]
    return found


def events_of(
    capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, list[dict], str]:
    code = run_cli([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, [json.loads(line) for line in said.err.splitlines()], said.out


def check(events: list[dict]) -> None:
    """Every event has the fields that the page says, and no others."""
    pages = documented()
    for event in events:
        when = datetime.fromisoformat(event["time"])
        assert when.tzinfo == UTC
        assert event["level"] in ("info", "warning", "error")
        assert {*event} == {"time", "level", "event"} | pages[event["event"]]


@pytest.mark.parametrize("before", [True, False])
def test_a_run_tells_its_stages_and_its_account(write_recipe, capsys, before):
    option = ["--log-format", "json"]
    verb = ["run", write_recipe(STEPS)]
    order = [*option, *verb] if before else [*verb, *option]
    code, events, out = events_of(capsys, *order)
    assert code == 0
    check(events)
    names = [event["event"] for event in events]
    assert names[-1] == "run_finished"
    stages = [e["stage"] for e in events if e["event"] == "stage_started"]
    assert stages[0] == "reading" and stages[-1] == "writing"
    assert stages == [e["stage"] for e in events if e["event"] == "stage_finished"]
    scoring = [e for e in events if e["event"] == "stage_finished" and "scoring" in e["stage"]]
    assert all(event["tokens"] > 0 for event in scoring) and scoring
    account = events[-1]
    assert account["read"] == 8
    assert account["kept"] + account["rejected"] + account["quarantined"] == account["read"]
    assert "read 8 = kept" in out


def test_the_next_command_of_a_process_speaks_to_people_again(write_recipe, capsys):
    recipe = write_recipe(STEPS)
    events_of(capsys, "run", recipe, "--log-format", "json")
    assert run_cli(["run", str(recipe), "--replace"]) == 0
    assert not capsys.readouterr().err.startswith("{")
    assert run_cli(["run", str(recipe), "--replace", "--log-format", "text"]) == 0
    assert not capsys.readouterr().err.startswith("{")


def test_an_error_is_an_event_with_its_exit_code(tmp_path, capsys):
    code, events, out = events_of(capsys, "--log-format", "json", "run", tmp_path / "none.yaml")
    check(events)
    assert (code, out) == (2, "")
    assert events[-1]["event"] == "error" and events[-1]["exit_code"] == 2
    assert "none.yaml" in events[-1]["text"]


def test_wrong_usage_is_an_event_too(capsys):
    code, events, _ = events_of(capsys, "--log-format", "json", "run")
    check(events)
    assert code == 2 and events[-1]["type"] == "MissingParameter"


def test_bad_records_are_a_message(write_recipe, tmp_path, capsys):
    recipe = write_recipe(STEPS)
    data = tmp_path / "data.jsonl"
    data.write_text(data.read_text() + '{"query": 1}\n"\\u202e"\n')
    arguments = ("run", recipe, "--log-format", "json", "--set", "input.max_errors=5")
    code, events, _ = events_of(capsys, *arguments)
    assert code == 0
    check(events)
    (text,) = (e["text"] for e in events if e["event"] == "message" and "bad" in e["text"])
    assert text.startswith("2 bad records")


def test_what_is_logged_is_an_event(write_recipe, tmp_path, capsys):
    plugin = tmp_path / "talks.py"
    plugin.write_text(
        "import logging, warnings\n"
        "from qaqfilter import hookimpl\n"
        "@hookimpl\n"
        "def qaqfilter_run_started(recipe, run):\n"
        "    logging.getLogger('qaqfilter.talks').info('hello %s', 'you')\n"
        "    logging.getLogger('other').info('nobody cares')\n"
        "    logging.getLogger('other').warning('beware')\n"
    )
    arguments = ("run", write_recipe(STEPS), "--plugin", plugin, "--log-format", "json")
    _, events, _ = events_of(capsys, *arguments)
    check(events)
    logged = [(e["level"], e["logger"], e["text"]) for e in events if e["event"] == "log"]
    ours = [entry for entry in logged if "layout" not in entry[1]]
    assert ours == [("info", "qaqfilter.talks", "hello you"), ("warning", "other", "beware")]


def test_progress_comes_every_ten_seconds(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lines = JsonLines()
    lines.started("scoring (m)", 40)
    for _ in range(6):
        now[0] += 4
        lines.advanced(2, 100)
    lines.finished()
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    check(events)
    progress = [event for event in events if event["event"] == "progress"]
    assert [event["seconds"] for event in progress] == [12.0, 24.0]
    assert progress[0]["records"] == 6 and progress[0]["tokens"] == 300
    assert progress[0]["tokens_per_second"] == 25.0
    assert progress[0]["recent_tokens_per_second"] == 25.0
    assert progress[0]["recent_records_per_second"] == 0.5
    assert progress[0]["seconds_left"] == 68.0  # 34 records, 2 seconds each
    assert events[-1]["event"] == "stage_finished" and events[-1]["seconds_left"] is None


def test_a_pipe_has_its_account_as_an_event(write_recipe, capsysbinary):
    recipe = write_recipe(STEPS)
    assert run_cli(["run", str(recipe), "--set", "output.path=-", "--log-format", "json"]) == 0
    said = capsysbinary.readouterr()
    events = [json.loads(line) for line in said.err.splitlines()]
    check(events)
    (account,) = (event for event in events if event["event"] == "run_finished")
    assert account["kept"] == len(said.out.splitlines())
