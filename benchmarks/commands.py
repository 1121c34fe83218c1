"""How long commands take to start."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.jobs import Job
from benchmarks.timing import seconds_of

_HIP = (sys.executable, "-m", "hiperceiver.cli")

COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "import torch": (sys.executable, "-c", "import torch"),
    "import hiperceiver": (sys.executable, "-c", "import hiperceiver"),
    "hip --help": (*_HIP, "--help"),
    "hip --version": (*_HIP, "--version"),
    "hip pretrain --help": (*_HIP, "pretrain", "--help"),
    "hip info hip-16": (*_HIP, "info", "hip-16"),
}
"""Name in the table -> words. The first two are what nobody can be faster than without, and with, PyTorch."""


def measure(job: Job) -> dict[str, Any]:
    """`seconds` of each of several starts, after one that brings the files into the system's memory."""

    def start() -> None:
        subprocess.run(COMMANDS[job.name], check=True, stdout=subprocess.DEVNULL)

    start()
    return {"seconds": seconds_of(start, most=5, enough=5.0)}
