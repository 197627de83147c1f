"""Where long work is: a bar on a terminal, plain lines elsewhere, nothing where it is quiet."""

from __future__ import annotations

import sys
import time

import click
import pytest

from edgehemo.commands import logs, progress
from edgehemo.commands.progress import PLAIN_AFTER_S, PLAIN_EVERY_S, Progress, tell, tracked


class Terminal:
    """Standard error as a terminal that counts what is written to it."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass


class Clock:
    """The time as the progress sees it."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "", "standard output is the result's alone"
    return captured.err.splitlines()


@pytest.mark.parametrize(("after_s", "shown"), [(0.5, False), (5.0, True)])
def test_a_bar_appears_on_a_terminal_and_only_after_a_second(
    monkeypatch: pytest.MonkeyPatch, after_s: float, shown: bool
) -> None:
    terminal = Terminal()
    times = iter([0.0, after_s])
    monkeypatch.setattr(sys, "stderr", terminal)
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: next(times, after_s))
        bar = Progress("screening", total=2)
        bar.advance()
    with bar:
        pass
    assert bool(terminal.written) == shown


def test_short_work_says_nothing_without_a_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("screening", total=40) as bar:
        for _ in range(40):
            clock.now_s += PLAIN_AFTER_S / 50
            bar.advance()
    assert lines(capsys) == []


def test_long_work_says_where_it_is_without_a_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("screening", total=40) as bar:
        for _ in range(40):
            clock.now_s += 6.0
            bar.advance()
    told = lines(capsys)
    assert told[0] == "screening: 2 of 40 (5 %), 12 s"
    # After each tenth of it: four fields of six seconds.
    assert told[1] == "screening: 6 of 40 (15 %), 36 s"
    assert told[-1] == "screening done: 40, 240 s"
    assert len(told) == 11


def test_lines_are_no_flood_and_no_silence_where_nobody_knows_how_much_there_is(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("measuring") as bar:
        for _ in range(1000):
            clock.now_s += 0.5
            bar.advance()
    told = lines(capsys)
    assert told[0] == "measuring: 21, 10 s"
    assert len(told) == pytest.approx(1 + 500 / PLAIN_EVERY_S, abs=2)


def test_what_is_known_to_take_long_says_that_it_begins(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("hashing", total=3, long=True) as bar:
        bar.reach(3)
    assert lines(capsys) == ["hashing begins, 3 to do", "hashing done: 3, 0 s"]


def test_figures_stand_beside_the_step(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("training", total=200) as bar:
        clock.now_s = PLAIN_AFTER_S + 1
        bar.reach(50, "loss 0.1200")
    assert lines(capsys)[0] == "training: 50 of 200 (25 %), 11 s, loss 0.1200"


def test_work_that_fails_does_not_say_that_it_is_done(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError), Progress("hashing", total=3, long=True):
        raise ZeroDivisionError
    assert lines(capsys) == ["hashing begins, 3 to do"]


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_says_nothing(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    shown = Terminal()
    if terminal:
        monkeypatch.setattr(sys, "stderr", shown)
    with click.Context(click.Command("x")) as context:
        logs.ask(context, quiet=True)
        with Progress("screening", total=2, long=True) as bar:
            clock.now_s = 100.0
            bar.advance()
        tell("a line")
        logs.stop()
    assert (shown.written, lines(capsys)) == ("", [])


def test_items_are_followed_as_they_are_used_up(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in tracked(range(4), "fields", 4):
        clock.now_s += 11.0
    assert lines(capsys)[0] == "fields: 1 of 4 (25 %), 11 s"
    for _ in tracked(range(4), "fields", 4, shown=False):
        clock.now_s += 11.0
    assert lines(capsys) == []
