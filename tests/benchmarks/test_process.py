"""Measurements in fresh processes: what they say, and what comes of those that cannot be done."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.guard import Interpreters, Limits, run_job, run_process
from benchmarks.jobs import Answer, Job
from benchmarks.session import Series, Session

AMPLE = Limits(seconds=100.0, num_bytes=8e9)
NANO = Job(kind="step", name="hiperceiver:hip-nano", side=32, mode="training")


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_step_in_a_fresh_process() -> None:
    answer = run_job(NANO, AMPLE, Interpreters())
    assert (answer.status, answer.note) == ("measured", "")
    numbers = answer.numbers
    assert numbers["seconds"] and all(0 < seconds < answer.wall for seconds in numbers["seconds"])
    assert 0 < numbers["import_bytes"] < numbers["peak_bytes"] < 2e9
    model_and_optimizer = 4 * 4 * numbers["num_parameters"]  # weights, gradients and two moments, 4 bytes each
    assert numbers["peak_bytes"] - numbers["import_bytes"] > model_and_optimizer


def test_the_machine_in_a_fresh_process() -> None:
    numbers = run_job(Job(kind="machine"), AMPLE, Interpreters()).numbers
    assert numbers["matmul_rate"] > 1e8
    assert numbers["narrow_rate"] > 1e8
    assert numbers["copy_rate"] > 1e7


def test_too_much_memory() -> None:
    answer = run_process(
        program("import time; x = b'1' * 400_000_000; time.sleep(60)"), Limits(seconds=50, num_bytes=2e8)
    )
    assert (answer.status, answer.note) == ("does not fit", "more than 0.2 GB")


def test_an_allocation_that_is_refused() -> None:
    answer = run_process(program("bytearray(2**62)"), AMPLE)
    assert answer.status == "does not fit"


def test_too_slow() -> None:
    started = time.monotonic()
    answer = run_process(program("import time; time.sleep(60)"), Limits(seconds=0.5, num_bytes=8e9))
    assert (answer.status, answer.note.split(",")[0]) == ("too slow", "more than 0 s")
    assert time.monotonic() - started < 30


def test_a_failure_is_its_last_line() -> None:
    answer = run_process(program("print('{}'); raise RuntimeError('no luck')"), AMPLE)
    assert (answer.status, answer.note) == ("failed", "RuntimeError: no luck")


def test_what_is_not_installed_says_how(tmp_path: Path) -> None:
    """The reference asks for JAX; `-S` is a Python without any package."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    answer = run_job(
        Job(kind="step", name="jax:hip-mini", side=32),
        AMPLE,
        Interpreters(reference=tmp_path, reference_python=str(bare)),
    )
    assert (answer.status, answer.note) == ("not installed", "not installed: pip install jax dm-haiku chex einshape")


def made_up(job: Job) -> Answer:
    if job.side >= 64:
        return Answer(status="does not fit", note="more than 1.0 GB", wall=2.0)
    return Answer(status="measured", numbers={"seconds": [0.1]}, wall=1.0)


def test_rounds_alternate_and_what_does_not_fit_is_not_tried_again(tmp_path: Path) -> None:
    done: list[tuple[str, int]] = []

    def do(job: Job) -> Answer:
        done.append((job.name, job.side))
        return made_up(job)

    def series(side: int) -> Series:
        names = ("hiperceiver:hip-16", "vit:base")
        return Series(jobs=tuple(Job(kind="step", name=name, side=side) for name in names))

    session = Session(do, tmp_path / "results.json", rounds=2, limit=10.0, options={})
    session.run([series(32), series(64), series(128)])
    both = ["hiperceiver:hip-16", "vit:base"]
    assert [name for name, side in done if side == 32] == [*both, *both]
    assert [name for name, side in done if side == 64] == both
    assert not [name for name, side in done if side == 128]
    large = session.answers[Job(kind="step", name="vit:base", side=128)][0]
    assert (large.status, large.note) == ("does not fit", "not tried: does not fit at 64")


def test_results_are_on_disk_after_an_interruption(tmp_path: Path) -> None:
    def do(job: Job) -> Answer:
        if job.kind == "count":
            raise KeyboardInterrupt
        return made_up(job)

    step = Job(kind="step", name="vit:base", side=32)
    session = Session(do, tmp_path / "results.json", rounds=1, limit=10.0, options={"rounds": 1})
    with pytest.raises(KeyboardInterrupt):
        session.run([Series(jobs=(step,), once=(Job(kind="count", name="vit:base", side=32),))])
    kept = json.loads((tmp_path / "results.json").read_text())
    assert [(each["name"], each["kind"], each["status"]) for each in kept["measurements"]] == [
        ("vit:base", "step", "measured")
    ]
    assert kept["options"] == {"rounds": 1}
    assert kept["machine"]["versions"]["torch"] == torch.__version__


def test_the_machine_is_measured_each_time_it_is_asked_for(tmp_path: Path) -> None:
    machine, step = Job(kind="machine"), Job(kind="step", name="vit:base", side=32)
    session = Session(made_up, tmp_path / "results.json", rounds=3, limit=10.0, options={})
    session.run([Series(once=(machine,)), Series(jobs=(step,)), Series(once=(machine,)), Series(jobs=(step,))])
    assert (len(session.answers[machine]), len(session.answers[step])) == (2, 3)
