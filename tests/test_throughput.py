"""How fast it goes now: with an injected clock, and as each form of progress shows it."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from qaqfilter.live_bars import bars_on, sparkline
from qaqfilter.progress import Bars, PlainLines
from qaqfilter.throughput import Throughput


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def work(counted, clock, seconds, tokens, every=1.0):
    """Reports `every` so many seconds, of `tokens` a second and a tenth as many records."""
    for _ in range(round(seconds / every)):
        clock.now += every
        counted.add(round(tokens * every / 10), round(tokens * every))


def test_the_recent_speed_forgets_what_was_before(clock):
    counted = Throughput(clock)
    work(counted, clock, 100, 10)
    work(counted, clock, 10, 1000)
    assert counted.recent().tokens == pytest.approx(1000)
    assert counted.recent().records == pytest.approx(100)
    assert counted.mean().tokens == pytest.approx(100)


def test_before_the_first_report_nothing_goes(clock):
    counted = Throughput(clock)
    assert counted.recent().tokens == 0 and counted.history(12) == []
    clock.now += 4
    counted.add(2, 40)
    assert counted.recent() == counted.mean()
    assert counted.recent().tokens == pytest.approx(10)


def test_rare_reports_are_no_standstill(clock):
    counted = Throughput(clock)
    work(counted, clock, 120, 50, every=30)
    for _ in range(29):
        clock.now += 1
        assert counted.recent().tokens == pytest.approx(50)


def test_a_standstill_shows_as_a_falling_speed(clock):
    counted = Throughput(clock)
    work(counted, clock, 60, 100)
    seen = []
    for _ in range(12):
        clock.now += 1
        seen.append(counted.recent().tokens)
    assert seen == sorted(seen, reverse=True)
    assert seen[4] == pytest.approx(60) and seen[-1] == 0


def test_a_sleep_of_the_machine_is_forgotten(clock):
    counted = Throughput(clock)
    work(counted, clock, 60, 100)
    clock.now += 36000
    work(counted, clock, 11, 100)
    assert counted.recent().tokens == pytest.approx(100)
    clock.now += 12  # nor is a pause usual from now on
    assert counted.recent().tokens == 0


def test_memory_is_bounded(clock):
    counted = Throughput(clock)
    work(counted, clock, 1000, 1000, every=0.01)
    assert len(counted._samples) < 600
    assert counted.tokens == 1_000_000
    assert counted.recent().tokens == pytest.approx(1000)


def test_the_time_left_follows_the_last_minute(clock):
    counted = Throughput(clock)
    work(counted, clock, 10, 10_000)  # out of the score store
    work(counted, clock, 61, 100)
    assert counted.left(counted.records + 100) == pytest.approx(10)
    clock.now += 80
    assert counted.left(counted.records + 100) is None
    assert counted.left(None) is None


def test_blocks_show_the_last_minute_where_they_can_be_shown(clock):
    counted = Throughput(clock)
    work(counted, clock, 55, 100)
    work(counted, clock, 5, 800)
    assert sparkline(counted, "utf-8") == "▂" * 11 + "█"
    assert sparkline(counted, "ascii") == sparkline(counted, "cp1252") == ""
    clock.now += 31
    assert sparkline(counted, "utf-8").endswith("█▁▁▁▁▁▁")


@pytest.mark.parametrize("width", [60, 80])
def test_bars_fit_and_move_while_nobody_reports(clock, width):
    console = Console(file=StringIO(), force_terminal=True, width=width, color_system=None)
    progress = bars_on(console)
    bars = Bars(progress)

    def lines():
        with console.capture() as shown:
            console.print(progress.get_renderable())
        return shown.get().splitlines()

    bars.started("scoring (strong)", 15_000)
    for _ in range(30):
        clock.now += 1
        bars.advanced(5, 1234)
    bar, line = lines()
    assert "150/15000" in bar and bar.rstrip().endswith("0:49:30")
    assert line.startswith("  1234 tokens/s now (mean 1234), 5.0 records/s ")
    assert max(len(bar), len(line)) <= width
    clock.now += 6
    assert lines()[1].startswith("  617 tokens/s now (mean 1028), 2.5 records/s")
    bars.finished()
    clock.now += 60
    (bar,) = lines()
    assert "1028 tokens/s" in bar and len(bar) <= width


def test_lines_say_the_speed_now_and_the_mean(clock, capsys):
    lines = PlainLines()
    lines.started("scoring (m)", 400)
    clock.now += 5
    lines.advanced(100, 5000)
    for _ in range(5):
        clock.now += 2
        lines.advanced(2, 100)
    lines.finished()
    first, last = capsys.readouterr().err.splitlines()
    assert ", 430 tokens/s now (mean 482), 8.6 records/s, 31 s left" in first
    assert last == "scoring (m): 110/400 records, 367 tokens/s, done in 15.0 s"
