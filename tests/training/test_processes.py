"""A failure of one process ends another that hangs where the first will never come."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import atexit, sys, time
import torch.distributed as dist
from hiperceiver.training import processes
from hiperceiver.training.launch import find_launch

processes._SECONDS_TO_END = 1.0
launch = find_launch()
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=launch.rank, world_size=launch.num_ranks)
atexit.register(dist.destroy_process_group)
together = processes.Processes(launch)
together.connect("127.0.0.1")
try:
    assert together.gather(together.rank) == [0, 1]
    if together.rank == 1:
        raise ValueError("the disk is on fire")
    time.sleep(200)
except ValueError as error:
    raise together.failed(error) from None
"""


def test_a_failure_ends_a_process_that_hangs(tmp_path: Path) -> None:
    started = []
    for rank in "01":
        torchrun = {"TORCHELASTIC_RUN_ID": "x", "RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        environment = {**os.environ, **torchrun, "TORCH_CPP_LOG_LEVEL": "ERROR"}
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "meeting")]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        (_, first), (_, second) = (each.communicate(timeout=120) for each in started)
    finally:
        for each in started:
            each.kill()
    assert first == "the disk is on fire\n"
    assert [each.returncode for each in started] == [2, 2], second
