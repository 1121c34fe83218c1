"""What must refuse a stranger's file does so in a process of its own, and is held to its limits."""

import gc
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import torch

from hiperceiver.cli import main

SECONDS = 1.0  # of computing, so that busy neighbours do not count
MEBIBYTES = 256  # beside what the process had when it began
_PATIENCE = 10.0  # as many times as long may it take on a busy machine; what hangs is ended then


class Outcome(NamedTuple):
    """What was left by what ran apart."""

    result: Any  # plain values
    shown: str  # what it wrote to the terminal
    seconds: float
    mebibytes: float


def assert_refused(
    attempt: Callable[[], object], path: Path, *words: str, seconds: float = SECONDS, mebibytes: float = MEBIBYTES
) -> str:
    """The attempt ends with a `ValueError` of one line that names the file and has these words in it; gives the line.

    It takes at most so much time and memory, writes no file beside this one or in the working folder, and shows
    nothing. A larger limit needs its reason where it is given.
    """

    def refusal() -> str | None:
        try:
            attempt()
        except ValueError as error:
            return str(error)
        return None

    before = _files(path)
    outcome = run_apart(refusal, seconds, mebibytes)
    assert outcome.result is not None, f"{path.name} was read"
    assert outcome.shown == ""
    assert _files(path) == before, "a file was written"
    _check_line(outcome.result, path, words)
    return outcome.result


def assert_command_refuses(
    arguments: list[object],
    path: Path,
    *words: str,
    code: int = 2,
    seconds: float = SECONDS,
    mebibytes: int = MEBIBYTES,
) -> str:
    """`hip` with these arguments ends with this exit code and one such line; gives all that it showed."""
    before = _files(path)
    outcome = run_apart(lambda: main([str(each) for each in arguments]), seconds, mebibytes)
    assert outcome.result == code, outcome.shown
    assert _files(path) == before, "a file was written"
    lines = outcome.shown.splitlines()
    assert "\x1b" not in outcome.shown
    assert lines and lines[0].startswith("hip: ") and len(lines) == code % 2 + 1, outcome.shown
    _check_line(lines[0], path, words)
    return outcome.shown


def run_apart(action: Callable[[], object], seconds: float = SECONDS, mebibytes: float = MEBIBYTES) -> Outcome:
    """What an action gives (plain values) in a forked process; more time or memory than this is a failure."""
    with TemporaryFile("w+") as shown, TemporaryFile("w+") as results, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking with threads
        child = os.fork()
        if child == 0:
            _run(action, shown, results)
        before, began, peak = _resident(child), time.monotonic(), 0.0
        fault = ""
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
            peak = max(peak, _resident(child) - before)
            is_late = time.monotonic() - began > seconds * _PATIENCE
            if is_late or peak > 4 * mebibytes:  # it measures its peak itself; this one protects the machine
                fault = "ended: it hangs" if is_late else f"ended: it took {peak:.0f} MiB"
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
        assert not fault, fault
        shown.seek(0)
        results.seek(0)
        written = results.read()
    assert written, f"it died: {shown.read() if not shown.closed else ''}"
    outcome = Outcome(**json.loads(written))
    assert outcome.seconds <= seconds, f"it took {outcome.seconds:.2f} s"
    assert outcome.mebibytes <= mebibytes, f"it took {outcome.mebibytes:.0f} MiB"
    return outcome


def _run(action: Callable[[], object], shown: Any, results: Any) -> None:
    """In the forked process: never comes back."""
    try:
        gc.freeze()  # what earlier tests left is not ours to collect: some of it waits at its end for threads
        torch.set_num_threads(1)  # those of the process before do not exist here
        os.dup2(shown.fileno(), 1)
        os.dup2(shown.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, began = _memory("VmHWM"), time.process_time()
        result = action()
        seconds, mebibytes = time.process_time() - began, _memory("VmHWM") - before
        sys.stdout.flush()
        shown.seek(0)
        outcome = Outcome(result, shown.read(), seconds, mebibytes)
        results.write(json.dumps(outcome._asdict()))
        results.flush()
    except BaseException as error:  # a fault of ours, or of the test
        os.write(2, repr(error).encode())
        results.write(json.dumps(Outcome(f"raised {error!r}", "", 0.0, 0.0)._asdict()))
        results.flush()
    finally:
        os._exit(0)


def _memory(name: str) -> float:
    """An entry of this process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _resident(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):  # it has just ended
        return 0.0


def _files(path: Path) -> set[str]:
    """All that lies beside a file, and in the working folder."""
    found: set[str] = set()
    for folder in {path.parent, Path.cwd()}:
        for root, folders, files in os.walk(folder):
            found.update(os.path.join(root, name) for name in (*folders, *files))
    return found


def _check_line(line: str, path: Path, words: tuple[str, ...]) -> None:
    assert line.isprintable() and len(line) < 1000, repr(line[:1000])
    assert path.name in line, line
    for word in words:
        assert word in line, line
