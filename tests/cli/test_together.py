"""A command whose run is shared by two processes, however they were started: one run, one voice."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from .conftest import TINY

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2")


def hip_together(folder: Path, *arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "RANK" not in name}
    return subprocess.run(
        [sys.executable, *launcher, "-m", "hiperceiver.cli", *map(str, arguments)],
        cwd=folder,
        env={**environment, "MASTER_ADDR": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_processes_that_the_command_starts(pictures: Path, tmp_path: Path) -> None:
    options = ["pretrain", "--data", pictures, *TINY, "--accelerator", "cpu", "--devices", 2]
    done = hip_together(tmp_path, *options, "--steps", 2)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == "pretrain-pictures-hip-nano-1"
    assert done.stdout.splitlines()[-1] == f"model: runs/{run.name}/model"
    assert done.stdout.count("run folder: ") == done.stdout.count("an example: ") == 1
    assert yaml.safe_load((run / "settings.yaml").read_text())["devices"] == 2
    assert "100%  step 2/2" in done.stderr


def test_processes_that_torchrun_starts(pictures: Path, tmp_path: Path) -> None:
    options = ["finetune", "--data", pictures, *TINY, "--steps", 2, "--strategy", "ddp", "--test", "--out", "run"]
    done = hip_together(tmp_path, *options, launcher=TORCHRUN)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "test.json").is_file()
    assert done.stdout.count("run folder: run") == 1
    assert done.stdout.count("\nbalanced_accuracy ") == 2  # of the validation and of the test
