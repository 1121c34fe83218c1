"""Two processes that train together, against one that trains alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from closeness import assert_within
from torch import Tensor

from hiperceiver.tasks import load_task
from hiperceiver.training.checkpoints import RUN_KEY, read_checkpoint
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.run import TrainingResult

from .together import RUNS, SETTINGS, run

SPEEDS = {"examples_per_second", "tokens_per_second", "seconds"}
TOGETHER = [
    "classes-ddp",
    "classes-fsdp",
    "average-ddp",
    "adamw-ddp",
    "adamw-fsdp",
    "lamb-ddp",
    "bad-ddp",
    "bad-fsdp",
    "modalities-ddp",
    "modalities-fsdp",
    "blinding-ddp",
    "mixed-ddp",
    "pixels-ddp",
    "timed-ddp",
]
RESUMED = ["straight-ddp", "straight-fsdp", "half-ddp", "half-fsdp", "labelled-fsdp"]
TOGETHER += [name for each in RESUMED for name in (each, each.replace("-", "-resumed-"))]
ALONE = (
    *("classes", "average", "adamw", "lamb", "bad", "modalities", "blinding", "pixels"),
    *("masked", "mixed", "streamed", "labelled"),
)
AT_ONCE = "pixels-at-once"


def in_processes(*arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "RANK" not in name}
    return subprocess.run(
        [sys.executable, *launcher, *arguments],
        env={**environment, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=250,
    )


PROGRAM = str(Path(__file__).with_name("together.py"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs of two processes."""
    folder = tmp_path_factory.mktemp("together")
    done = in_processes(PROGRAM, str(folder), *TOGETHER)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainingResult]:
    """The same runs of one process."""
    folder = tmp_path_factory.mktemp("alone")
    return {name: run(name, folder / name) for name in (*ALONE, AT_ONCE)}


def rows(folder: Path) -> list[dict[str, float]]:
    import csv

    with RunFolder(folder).metrics.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v and k not in SPEEDS} for row in csv.DictReader(file)]


def assert_trained_alike(found: dict[str, Tensor], expected: dict[str, Tensor], name: str) -> None:
    """Assert that weights are alike but for one in a hundred of each tensor, that on average they went the same way
    to 1% of the longest one, and that none went another way by more than it can.

    Adam divides each gradient by its own size: where that is nothing but rounding, whose sign is chance, a step moves
    the weight by the learning rate nevertheless.
    """
    assert found.keys() == expected.keys()
    settings = {**SETTINGS, **RUNS[name.partition("-")[0]][2]}
    way = settings["steps"] * settings["learning_rate"]
    for weight, wanted in expected.items():
        gaps = (found[weight] - wanted).abs()
        assert_within(gaps, 0.0, 2 * way)
        assert_within(gaps.double().square().mean().sqrt(), 0.0, way / 100)
        assert (gaps > 2e-4 + 1e-3 * wanted.abs()).sum() <= gaps.numel() // 100, weight


@pytest.mark.parametrize("name", [name for name in TOGETHER if name.partition("-")[0] in ALONE])
def test_two_processes_do_what_one_does(runs: Path, alone: dict[str, TrainingResult], name: str) -> None:
    """Losses, gradient norms, metrics, weights; with accumulation, clipping, averages, unreadable examples, and parts
    of a batch in which unlike much counts."""
    expected = alone[name.partition("-")[0]].run_folder
    found, wanted = rows(runs / name), rows(expected)
    assert len(found) == len(wanted)
    for row, other in zip(found, wanted, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
    ours, theirs = (load_task(RunFolder(folder).model).state_dict() for folder in (runs / name, expected))
    assert_trained_alike(ours, theirs, name)
    mine, its = (read_checkpoint(RunFolder(folder).last_checkpoint) for folder in (runs / name, expected))
    assert mine[RUN_KEY]["unreadable"] == its[RUN_KEY]["unreadable"]
    assert mine[RUN_KEY]["best_step"] == its[RUN_KEY]["best_step"]
    assert_trained_alike(mine["weights"], its["weights"], name)


def test_two_processes_that_accumulate_do_what_one_large_batch_does(
    runs: Path, alone: dict[str, TrainingResult]
) -> None:
    found, wanted = rows(runs / "pixels-ddp"), rows(alone[AT_ONCE].run_folder)
    assert len(found) == len(wanted)
    for row, other in zip(found, wanted, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)


def test_processes_leave_out_a_step_together(runs: Path, alone: dict[str, TrainingResult]) -> None:
    """And name the examples of the process whose loss is not finite."""
    lines, expected = (
        RunFolder(each).not_finite.read_text().splitlines()
        for each in (runs / "blinding-ddp", alone["blinding"].run_folder)
    )
    assert len(lines) == len(expected) == alone["blinding"].num_left_out == 2
    for line, other in zip(lines, expected, strict=True):
        assert line.partition(":")[0] == other.partition(":")[0]
        assert ("7.jpg" in line, line.count(".jpg"), other.count(".jpg")) == (True, 2, 4)


def test_unreadable_examples_of_all_processes_are_named(runs: Path) -> None:
    names = RunFolder(runs / "bad-ddp").skipped.read_text().splitlines()
    assert sorted(names) == [f"{index}.jpg: is empty (0 bytes)" for index in range(4)]


@pytest.mark.parametrize("name", RESUMED)
def test_each_process_draws_its_own_numbers_and_a_resumed_run_goes_on_with_them(runs: Path, name: str) -> None:
    """The second process was told to stop: both did, and the run was resumed in both."""
    resumed = name.replace("-", "-resumed-")
    straight, stopped = (read_checkpoint(RunFolder(runs / each).last_checkpoint) for each in (name, resumed))
    for checkpoint in (straight, stopped):
        first, second = (each["random"]["torch"] for each in checkpoint[RUN_KEY]["processes"])
        assert not torch.equal(first, second)
    for weight, values in straight["weights"].items():
        assert torch.equal(values, stopped["weights"][weight]), weight
    assert rows(runs / name) == rows(runs / resumed)


def test_time_is_agreed_on(runs: Path) -> None:
    state = read_checkpoint(RunFolder(runs / "timed-ddp").last_checkpoint)[RUN_KEY]
    assert state["step"] >= 1
    assert state["is_validated"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("1", "2-ddp"), ("2-ddp", "1"), ("2-ddp", "4-ddp"), ("1", "2-fsdp"), ("2-fsdp", "1"), ("2-fsdp", "2-ddp")],
)
def test_a_run_goes_on_with_another_number_of_processes_or_strategy(
    tmp_path: Path, alone: dict[str, TrainingResult], before: str, after: str
) -> None:
    """Masks, mixing, token dropout and the order of a stream are those of one process that was never stopped."""
    kinds = ("masked", "mixed", "streamed", "labelled")
    for how, ending in ((before, "-stopped"), (after, "")):
        number, _, strategy = how.partition("-")
        if number == "1":
            for kind in kinds:
                folder = tmp_path / f"{kind}-stopped"
                result = run(kind + ending, folder, resume=not ending)
                assert result.is_interrupted == bool(ending)
            continue
        names = [f"{kind}{ending}-{strategy}" for kind in kinds]
        resumed = [] if ending else ["--resumed=-stopped"]
        done = in_processes(PROGRAM, str(tmp_path), *names, f"--devices={number}", *resumed)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("was interrupted") == (len(kinds) * int(number) if ending else 0)
        for kind in kinds if ending else ():
            (tmp_path / f"{kind}-stopped-{strategy}").rename(tmp_path / f"{kind}-stopped")
    for kind in kinds:
        folder, expected = tmp_path / f"{kind}-stopped", alone[kind].run_folder
        for row, other in zip(rows(folder), rows(expected), strict=True):
            assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
        assert_trained_alike(*(load_task(RunFolder(each).model).state_dict() for each in (folder, expected)), kind)


def test_an_error_of_one_process_ends_all_with_one_line(tmp_path: Path) -> None:
    done = in_processes(PROGRAM, str(tmp_path), "failing-ddp")
    assert done.returncode == 1
    assert done.stderr == "TrainingError: the disk is on fire\n"
