import math

import pytest

from hiperceiver.training import schedule as schedule_module
from hiperceiver.training.schedule import RunClock, Schedule


def test_warm_up_is_straight_and_then_a_cosine_falls() -> None:
    schedule = Schedule(warmup=0.2, final=0.1)
    assert [schedule(p) for p in (0.0, 0.05, 0.1, 0.2)] == pytest.approx([0.0, 0.25, 0.5, 1.0])
    for share in (0.25, 0.5, 0.75):
        expected = 0.1 + 0.9 * math.cos(math.pi * share / 2) ** 2
        assert schedule(0.2 + 0.8 * share) == pytest.approx(expected)
    assert schedule(1.0) == pytest.approx(0.1)
    assert schedule(1.7) == pytest.approx(0.1)


def test_without_warm_up_it_starts_at_the_top() -> None:
    assert Schedule(warmup=0.0, final=0.0)(0.0) == 1.0


def test_progress_by_steps_by_time_and_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(schedule_module.time, "monotonic", lambda: now[0])
    by_steps = RunClock(steps=10, max_seconds=None)
    by_time = RunClock(steps=None, max_seconds=20)
    both = RunClock(steps=10, max_seconds=20)
    for clock in (by_steps, by_time, both):
        assert clock.elapsed == 0
        clock.start()
    now[0] += 5
    assert by_steps.progress(1) == 0.1
    assert by_time.progress(1) == 0.25
    assert [both.progress(step) for step in (1, 5, 11)] == [0.25, 0.5, 1.0]
    now[0] += 60
    assert by_time.progress(1) == 1.0


def test_time_of_earlier_parts_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module.time, "monotonic", lambda: 7.0)
    clock = RunClock(steps=None, max_seconds=20, earlier_seconds=15)
    assert clock.progress(0) == 0.75
    clock.start()
    assert clock.elapsed == 15
