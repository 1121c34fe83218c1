import math
from functools import partial

import pytest

from hiperceiver.training import schedule as schedule_module
from hiperceiver.training.schedule import CheckpointPlan, RunClock, ValidationPlan, warmup_cosine


def test_warm_up_is_straight_and_then_a_cosine_falls() -> None:
    schedule = partial(warmup_cosine, warmup=0.2, final=0.1)
    assert [schedule(p) for p in (0.0, 0.05, 0.1, 0.2)] == pytest.approx([0.0, 0.25, 0.5, 1.0])
    for share in (0.25, 0.5, 0.75):
        expected = 0.1 + 0.9 * math.cos(math.pi * share / 2) ** 2
        assert schedule(0.2 + 0.8 * share) == pytest.approx(expected)
    assert schedule(1.0) == pytest.approx(0.1)
    assert schedule(1.7) == pytest.approx(0.1)


def test_without_warm_up_it_starts_at_the_top() -> None:
    assert warmup_cosine(0.0, warmup=0.0, final=0.0) == 1.0


def test_flat_before_the_cosine() -> None:
    schedule = partial(warmup_cosine, warmup=0.2, flat=0.4, final=0.1)
    assert [schedule(p) for p in (0.1, 0.2, 0.5, 0.6)] == pytest.approx([0.5, 1.0, 1.0, 1.0])
    assert schedule(0.8) == pytest.approx(0.55)
    assert schedule(1.0) == pytest.approx(0.1)


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


def validated(
    plan: ValidationPlan, clock: RunClock, now: list[float], *, steps: int, per_step: float, each: float = 0.0
):
    """The steps that a run validates, where a step takes `per_step` seconds and a validation `each`."""
    found = []
    for step in range(1, steps + 1):
        now[0] += per_step
        if clock.progress(step) > 0 and plan.is_due(step):
            found.append(step)
            now[0] += each
            plan.add(each)
        if clock.progress(step) == 1:
            return found
    return found


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(schedule_module.time, "monotonic", lambda: now[0])
    return now


def make_plan(clock: RunClock, *, num_examples: int, every: int | None = None, step: int = 0) -> ValidationPlan:
    clock.start()
    return ValidationPlan(every=every, num_examples=num_examples, examples_per_step=10, clock=clock, step=step)


@pytest.mark.parametrize(
    ("num_examples", "expected"),
    [
        (1, list(range(10, 101, 10))),
        (10, list(range(10, 101, 10))),  # a hundredth of the run each
        (25, [25, 50, 75, 100]),
        (45_000, [100]),  # by itself more than the run: once, at the end
    ],
)
def test_validations_of_a_run_of_steps_depend_on_its_examples(
    now: list[float], num_examples: int, expected: list[int]
) -> None:
    for per_step in (1e-3, 1.0):
        clock = RunClock(steps=100, max_seconds=None)
        plan = make_plan(clock, num_examples=num_examples)
        assert validated(plan, clock, now, steps=100, per_step=per_step) == expected
    # Resumed in between, the same ones follow.
    plan = make_plan(RunClock(steps=100, max_seconds=None), num_examples=num_examples, step=55)
    assert [step for step in range(56, 101) if plan.is_due(step)] == [step for step in expected if step > 55]


def test_slow_validations_are_fewer(now: list[float]) -> None:
    clock = RunClock(steps=100, max_seconds=None)
    found = validated(make_plan(clock, num_examples=1), clock, now, steps=100, per_step=1.0, each=6.0)
    assert found == [10, 100]
    clock = RunClock(steps=None, max_seconds=100.0)
    found = validated(make_plan(clock, num_examples=1), clock, now, steps=1000, per_step=0.5, each=2.0)
    assert 3 <= len(found) <= 6
    assert 2.0 * (len(found) - 1) <= 0.1 * 100


def test_a_given_rhythm_is_kept(now: list[float]) -> None:
    clock = RunClock(steps=10, max_seconds=None)
    plan = make_plan(clock, num_examples=45_000, every=3)
    assert validated(plan, clock, now, steps=10, per_step=1.0, each=100.0) == [3, 6, 9, 10]


def test_checkpoints_by_steps_and_by_time(now: list[float]) -> None:
    plan = CheckpointPlan(every=5, seconds=30.0, is_saved=False)
    assert plan.is_due(1)  # the first step
    plan.add(3.0)
    assert [step for step in range(2, 12) if plan.is_due(step)] == [5, 10]
    now[0] += 59.0
    assert not plan.is_due(12)  # saving took more than a twentieth of 30 s
    now[0] += 2.0
    assert plan.is_due(12)
