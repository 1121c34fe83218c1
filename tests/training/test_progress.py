import io

import pytest

from hiperceiver.training import progress as progress_module
from hiperceiver.training.progress import Display, counting
from hiperceiver.training.schedule import RunClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "xterm")
    return now


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then(now: list[float]) -> None:
    stream = io.StringIO()
    clock = RunClock(steps=100, max_seconds=None)
    display = Display(clock, stream=stream)
    assert display.bar is None
    clock.start()
    display.start()
    for step in range(1, 101):
        now[0] += 1.0
        display.update(step, 0.123456, is_last=step == 100)
    display.say("done")
    display.stop()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 8  # one in 15 seconds, the last step, the word
    assert lines[0] == " 15%  step 15/100, loss 0.1235, 1 steps/s, 0:15, 1:25 left"
    assert lines[-2:] == ["100%  step 100/100, loss 0.1235, 1 steps/s, 1:40, 0:00 left", "done"]
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_run_limited_by_time_shows_how_much_of_it_is_gone(now: list[float]) -> None:
    stream = io.StringIO()
    clock = RunClock(steps=None, max_seconds=240, earlier_seconds=60)
    display = Display(clock, step=50, stream=stream)
    clock.start()
    display.start()
    now[0] += 30.0
    display.update(80, None)
    assert stream.getvalue() == " 38%  step 80, 1 steps/s, 1:30 of 4:00, 2:30 left\n"


def test_on_a_terminal_there_is_a_bar(now: list[float]) -> None:
    stream = Terminal()
    clock = RunClock(steps=10, max_seconds=None)
    display = Display(clock, stream=stream)
    assert display.bar is not None
    clock.start()
    display.start()
    for step in range(1, 11):
        now[0] += 0.1
        display.update(step, 0.5, is_last=step == 10)
    now[0] += 1
    display.validating(32)
    display.say("a [word] in between")
    display.stop()
    text = stream.getvalue()
    assert "step 5/10, loss 0.5, 10 steps/s" in text
    assert "step 6/10" not in text  # drawn twice a second at most
    assert "validating: 32 examples" in text
    assert "a [word] in between" in text


def test_nothing_is_shown_if_so_wished() -> None:
    stream = Terminal()
    display = Display(RunClock(steps=1, max_seconds=None), is_shown=False, stream=stream)
    display.start()
    display.update(1, 0.5, is_last=True)
    display.validating(3)
    display.say("a word")
    display.stop()
    with counting("evaluating", 3, is_shown=False, stream=stream) as count:
        count(3)
    assert stream.getvalue() == ""


def test_counting_shows_a_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, is_terminal in [(Terminal(), True), (io.StringIO(), False)]:
        with counting("evaluating", 3, is_shown=True, stream=stream) as count:
            count(3)
        assert ("evaluating" in stream.getvalue()) == is_terminal
