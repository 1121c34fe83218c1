"""Cases in a process of their own, so that a crash, a hang or too much memory is the case's fault and ends no test."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import torch

from hiperceiver.settings.base import one_line

Case = Callable[[], str]
"""Gives what was found, in words; what it raises is a fault."""

SECONDS = 5.0  # of computing that a case may take
MEGABYTES = 512  # that a case may take beyond what the process has before it
_SILENCE = 60.0  # seconds without an answer after which a case hangs; other programs may be running
_ADDRESSES = 4 << 30  # bytes that a process may ask for beyond those it has; what asks for more gets a MemoryError

FAULT = "FAULT: "
"""How the outcome of a case begins that did what no case may do."""


def outcomes(cases: Sequence[Case], *, seconds: float = SECONDS, megabytes: float = MEGABYTES) -> list[str]:
    """What each case gave; a case after one that ended the process goes on in a new one."""
    found: list[str] = []
    while len(found) < len(cases):
        found += _in_a_child(cases[len(found) :], seconds, megabytes)
    return found


def _in_a_child(cases: Sequence[Case], seconds: float, megabytes: float) -> list[str]:
    """The outcomes of cases up to the first that ends the process."""
    reading, writing = os.pipe()
    sys.stdout.flush(), sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that are not there in the child; none of ours is needed there
        child = os.fork()
    if not child:
        os.close(reading)
        _run(cases, writing, seconds, megabytes)
    os.close(writing)
    answers, is_silent = b"", False
    while not is_silent:
        is_silent = not select.select([reading], [], [], _SILENCE)[0]
        part = b"" if is_silent else os.read(reading, 1 << 16)
        if not part:
            break
        answers += part
    os.close(reading)
    if is_silent:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    found = [json.loads(line) for line in answers.splitlines() if line.endswith(b'"')]
    if len(found) < len(cases):
        found.append(FAULT + _end(status, is_silent, seconds))
    return found


def _end(status: int, is_silent: bool, seconds: float) -> str:
    """How a process ended that should not have."""
    if is_silent:
        return f"no answer in {_SILENCE:g} seconds"
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGPROF:
        return f"more than {seconds:g} seconds of computing"
    return (
        f"crash: {signal.Signals(number).name}" if number else f"crash: exit code {os.waitstatus_to_exitcode(status)}"
    )


def _run(cases: Sequence[Case], writing: int, seconds: float, megabytes: float) -> NoReturn:
    """The child's whole life: a line for each case. Nothing of pytest's runs in it."""
    code = 1
    try:
        gc.freeze()
        torch.set_num_threads(1)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ADDRESSES,) * 2)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process even where native code never returns
        for case in cases:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            answer = (json.dumps(_outcome(case, megabytes)) + "\n").encode()
            signal.setitimer(signal.ITIMER_PROF, 0)
            while answer:
                answer = answer[os.write(writing, answer) :]
        code = 0
    finally:
        os._exit(code)


def _outcome(case: Case, megabytes: float) -> str:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _memory("VmRSS")
    try:
        found = case()
    except BaseException as error:
        where = [frame for frame in traceback.extract_tb(error.__traceback__) if "hiperceiver" in frame.filename]
        place = f" at {Path(where[-1].filename).name}:{where[-1].lineno}" if where else ""
        found = f"{FAULT}{type(error).__name__}{place}: {one_line(error)[:500]}"
        if isinstance(error, KeyboardInterrupt):
            raise
    taken = _memory("VmHWM") - before
    return found if taken <= megabytes else f"{FAULT}took {taken:.0f} MB of memory; {found}"


def _memory(name: str) -> float:
    """A number of this process in MB."""
    with contextlib.suppress(StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024
    raise AssertionError(f"no {name} in /proc/self/status")
