"""Run a job in a fresh process, and end the process before it harms the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.jobs import Answer, Job
from benchmarks.peers import PEERS

ROOT = Path(__file__).parents[1]
_LOOK_EVERY = 0.02
"""Seconds between two looks at a process's memory; at 2 GB a second it grows by 40 MB meanwhile."""
_KILLED = -9
_OUT_OF_MEMORY = ("OutOfMemory", "out of memory", "allocate memory", "bad_alloc", "RESOURCE_EXHAUSTED", "MemoryError")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one measurement may take."""

    seconds: float
    """Wall time of its process."""
    num_bytes: float
    """Resident memory of its process."""


@dataclass(frozen=True, kw_only=True)
class Interpreters:
    """Which Python runs which peers."""

    reference: Path | None = None
    """Checkout of the JAX reference."""
    reference_python: str = sys.executable
    """An interpreter that has JAX."""

    def command(self, job: Job) -> list[str]:
        """The words of a job's process."""
        python = sys.executable
        if job.implementation in PEERS and PEERS[job.implementation].framework == "jax":
            python = self.reference_python
        reference = [] if self.reference is None else [str(self.reference)]
        return [python, "-m", "benchmarks.worker", job.to_json(), *reference]


def run_job(job: Job, limits: Limits, interpreters: Interpreters) -> Answer:
    """Do a job in a fresh process. Whatever goes wrong in it is an answer, not an error."""
    return run_process(interpreters.command(job), limits)


def run_process(command: list[str], limits: Limits, path: Sequence[Path] = (ROOT, ROOT / "src")) -> Answer:
    """Run a worker's command, with these folders of modules; its answer is the last line of what it prints."""
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        try:
            stopped = _watch(process, limits)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # and what it started
            process.wait()
        wall = time.monotonic() - started
        printed, complaint = _text(out), _text(err)
    if stopped is not None:
        return Answer(**stopped, wall=wall)
    if process.returncode == 0 and printed:
        return Answer(**json.loads(printed.splitlines()[-1]), wall=wall)
    last = complaint.splitlines()[-1] if complaint else f"ended with {process.returncode}"
    if process.returncode == _KILLED or any(words in complaint for words in _OUT_OF_MEMORY):
        return Answer(status="does not fit", note=last[:200], wall=wall)
    return Answer(status="failed", note=last[:300], wall=wall)


def _watch(process: subprocess.Popen[bytes], limits: Limits) -> dict[str, Any] | None:
    """Wait until the process ends; None, or why it must be ended."""
    import psutil

    deadline = time.monotonic() + limits.seconds
    try:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            resident = watched.memory_info().rss
            if resident > limits.num_bytes:
                return {"status": "does not fit", "note": f"more than {limits.num_bytes / 1e9:.1f} GB"}
            if time.monotonic() > deadline:
                return {"status": "too slow", "note": f"more than {limits.seconds:.0f} s, at {resident / 1e9:.1f} GB"}
            time.sleep(_LOOK_EVERY)
    except psutil.Error:  # it has just ended
        process.wait()
    return None


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()
