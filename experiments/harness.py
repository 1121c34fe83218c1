"""Do a table's cells: runs as processes of one thread, several at a time; whatever ends it, the next call goes on."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from experiments.cells import Cell, Run, Table
from experiments.report import write_report
from experiments.results import (
    ROOT,
    Places,
    Results,
    each_once,
    gpu_name,
    read_json,
    revision,
    shown_command,
    trained,
    value_at,
    write_json,
)
from hiperceiver.cli.entry import drop_output
from hiperceiver.settings.run import format_duration
from hiperceiver.training.signals import STOP_SIGNALS

_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BETWEEN_LOOKS = 0.3
_PR_SET_CHILD_SUBREAPER = 36  # of <linux/prctl.h>
_PROGRESS = re.compile(rb"(\d+)%\s+(step [^\r\n]*)")


@dataclass
class Process:
    """A run that is being done."""

    run: Run
    popen: subprocess.Popen[bytes]
    lock: IO[str]
    started: float
    cost: dict[str, float]
    log: Path
    core_seconds: float = 0.0
    peak_bytes: int = 0

    def reap(self) -> bool:
        """Count what its processes took that have ended; whether all have, also the second of two that train together.

        Those that outlive their parent come to us, which `_adopt_orphans` asks for.
        """
        while True:
            try:
                pid, status, usage = os.wait4(-self.popen.pid, os.WNOHANG)  # any of its process group
            except ChildProcessError:
                return True
            if not pid:
                return False
            self.core_seconds += usage.ru_utime + usage.ru_stime
            self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * 1024)
            if pid == self.popen.pid:
                self.popen.returncode = os.waitstatus_to_exitcode(status)

    def send(self, number: int) -> None:
        """Send its first process a signal, SIGKILL all of them, though the first may have ended.

        (`Popen` would first look whether it has ended, and lose what it cost.)
        """
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.popen.pid, number)
            elif self.popen.returncode is None:
                os.kill(self.popen.pid, number)

    def progress(self) -> tuple[float, str]:
        """Its share that is done, and the last line that it printed on that."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4000))
            found = _PROGRESS.findall(file.read())
        return (int(found[-1][0]) / 100, found[-1][1].decode(errors="replace").strip()) if found else (0.0, "")


def _adopt_orphans(is_on: bool) -> None:
    """Whether processes whose parent has ended become our children, to be waited for; where Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(is_on), 0, 0, 0)


class Harness:
    """The cells of a table that are to be done."""

    def __init__(self, table: Table, cells: Sequence[Cell], places: Places, *, jobs: int):
        self.table, self.cells, self.places, self.jobs = table, list(cells), places, jobs
        self.results = Results(table, places)
        self.waiting = [cell for cell in self.cells if self.results.state(cell) != "done"]
        self.active: list[Process] = []
        self.failed: dict[Run, str] = {}
        self.done: set[Run] = set()
        self.elsewhere: set[Run] = set()
        self.is_stopping = False

    def do(self) -> int:
        """Do all; the exit code: 1 if a cell failed, 130 if it was stopped."""
        is_main = threading.current_thread() is threading.main_thread()
        earlier = {each: signal.signal(each, self._stop) for each in (STOP_SIGNALS if is_main else ())}
        shown = 0.0
        _adopt_orphans(True)
        try:
            while self.active or (self.waiting and not self.is_stopping):
                self._reap()
                if not self.is_stopping:
                    self._finish_and_start()
                if self.active and time.monotonic() - shown > _SECONDS_BETWEEN_LINES:
                    self._show()
                    shown = time.monotonic()
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for each in self.active:  # only an error of ours leaves any
                each.send(signal.SIGTERM)
            _adopt_orphans(False)
            for number, handler in earlier.items():
                signal.signal(number, handler)
        if self.is_stopping:
            print("stopped; the same command goes on", file=sys.stderr)
            return 130
        return 1 if self.failed else 0

    def _stop(self, number: int, frame: object) -> None:
        """Let the runs write a checkpoint and end; at the second signal, at once."""
        for each in self.active:
            each.send(signal.SIGKILL if self.is_stopping else signal.SIGINT)
        self.is_stopping = True
        self._say("stopping: runs write their checkpoints")

    def _is_done(self, run: Run) -> bool:
        if run not in self.done and self.places.is_done(run):
            self.done.add(run)
        return run in self.done

    def _finish_and_start(self) -> None:
        """Write the results of cells whose runs are done; start runs of others, as many as may be at a time."""
        for cell in list(self.waiting):
            left = [run for run in cell.all_runs() if not self._is_done(run)]
            if broken := next((run for run in left if run in self.failed), None):
                self.waiting.remove(cell)
                self._say(f"{cell.file} failed: {self.failed[broken]}")
                continue
            if not left:
                result = self.results.finish(cell)
                self.waiting.remove(cell)
                numbers = ((name, value_at(result, where)) for name, where in self.table.columns.items())
                name, number = next((each for each in numbers if each[1] is not None), ("done", ""))
                self._say(f"{cell.file}: {name} {number}")
                continue
            for run in (run for run in left if all(map(self._is_done, run.before()))):
                active = [each.run for each in self.active]
                if run in active:
                    continue
                busy = sum(each.cores for each in active)
                if self.is_stopping or (busy and busy + run.cores > self.jobs):
                    return  # runs start in their order: one that needs more cores than are free is not passed by others
                self._start(run, cell)

    def _start(self, run: Run, cell: Cell) -> None:
        folder, log = self.places.of(run), self.places.of(run, ".log")
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = self.places.of(run, ".lock").open("w")
        try:  # the process holds the lock too, so that nobody else does this run as long as it lives
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            if run not in self.elsewhere:
                self.elsewhere.add(run)
                self._say(f"{cell.file}: {run.name} is being done by another call, or by what one left behind")
            return
        cost = read_json(self.places.of(run, ".json"))
        if self.places.is_done(run):
            lock.close()
            return
        try:
            command = self.places.command(run)
        except (OSError, ValueError) as error:  # data that are not there, or are not as expected
            self.failed[run] = str(error)
            lock.close()
            return
        words, is_begun = command, (folder / "checkpoints" / "last.ckpt").exists()
        if not is_begun:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        elif "." not in run.command:  # our own modules see for themselves that there is something to go on with
            words = [*command[:2], "--out", str(folder), "--resume"]
        if is_begun and not cost.get("is_counted", True):  # what began it was killed: at least what it trained counts
            seconds = trained(folder)["seconds"]
            cost |= {name: max(cost.get(name, 0.0), seconds) for name in ("core_seconds", "wall_seconds")}
        shown = shown_command(command, self.places)
        code = each_once([cost.get("revision", ""), revision()])  # now: a checkout may change while others run
        about = {"for": cell.file, "command": shown, "revision": code, "machine": self.places.machine}
        write_json(self.places.of(run, ".json"), {**cost, **about, "is_counted": False, "is_done": False})
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        own = {"PYTHONPATH": path} | ({} if self.places.gpu else {"CUDA_VISIBLE_DEVICES": ""})
        own |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with log.open("ab") as out:
            if out.tell():  # what wrote the last line may have been killed while doing so
                out.write(b"\n")
            out.write(f"$ {shown}\n".encode())
            popen = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.places.base,
                env={**os.environ, **own},
                start_new_session=True,  # Ctrl-C reaches it through us
                pass_fds=(lock.fileno(),),
            )
        self.active.append(Process(run, popen, lock, time.monotonic(), cost, log))
        if self.is_stopping:  # since the signal came while it was being started
            self.active[-1].send(signal.SIGINT)
        self._say(f"{cell.file}: {run.name} {'goes on' if is_begun else 'begins'}")

    def _reap(self) -> None:
        """Count what finished runs have cost."""
        for each in list(self.active):
            if not each.reap():
                continue
            code = each.popen.returncode
            self.active.remove(each)
            path = self.places.of(each.run, ".json")
            cost = read_json(path)
            cost["core_seconds"] = each.cost.get("core_seconds", 0.0) + each.core_seconds
            cost["wall_seconds"] = each.cost.get("wall_seconds", 0.0) + time.monotonic() - each.started
            cost["peak_bytes"] = max(each.cost.get("peak_bytes", 0), each.peak_bytes)
            write_json(path, {**cost, "is_counted": True, "is_done": code == 0})
            each.lock.close()
            if code != 0 and not self.is_stopping:
                lines = each.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                self.failed[each.run] = f"{lines[-1] if lines else 'no output'} (exit code {code}; {each.log})"

    def _show(self) -> None:
        """Where things are, and when it will be over."""
        for each in self.active:
            print(f"    {each.run.name}: {each.progress()[1] or 'no step yet'}", file=sys.stderr)
        self._say(f"{len(self.active)} running")

    def _say(self, text: str) -> None:
        done = len(self.cells) - len(self.waiting)
        left = format_duration(60 * self._minutes_left())
        print(f"[{done}/{len(self.cells)} cells, about {left} left] {text}", file=sys.stderr, flush=True)

    def _minutes_left(self) -> float:
        """By the runs' estimates, corrected by what those that are done have taken."""
        doing = {each.run: each.progress()[0] for each in self.active}
        runs = dict.fromkeys(run for cell in self.cells for run in cell.all_runs())
        done = [run for run in runs if self._is_done(run)]
        estimate = sum(run.core_minutes for run in done) * self.places.scale
        taken = sum(read_json(self.places.of(run, ".json"))["wall_seconds"] * run.cores for run in done) / 60
        left = dict.fromkeys(run for cell in self.waiting for run in cell.all_runs() if run not in self.done)
        minutes = sum(run.core_minutes * (1 - doing.get(run, 0.0)) for run in left) * self.places.scale
        return minutes * (taken / estimate if estimate else 1.0) / self.jobs


def list_cells(cells: Sequence[Cell], results: Results) -> None:
    """Print the cells with their states and what those that are not done will take."""
    counted: set[Run] = set()
    for cell in cells:
        state = results.state(cell)
        new = [run for run in cell.all_runs() if run not in counted and not results.places.is_done(run)]
        minutes = 0.0 if state == "done" else sum(run.core_minutes for run in new) * results.places.scale
        counted |= set() if state == "done" else set(new)
        begun = any(results.places.of(run, ".json").exists() for run in cell.all_runs())
        print(f"{cell.file:44} {state or ('begun' if begun else 'to do'):9} {minutes:6.1f} core-minutes left")
    total = sum(run.core_minutes for run in counted) * results.places.scale
    print(f"{len(cells)} cells, {total / 60:.1f} core-hours left; runs that several cells share are counted once")


def main(table: Table, arguments: Sequence[str] | None = None, base: Path = ROOT) -> int:
    """The command of a table."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{table.name}", description=table.title)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data sets; default: data")
    parser.add_argument("--only", nargs="+", default=["*"], help="names of rows, with * and ?")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: each row's own")
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        help="processes at a time, of one thread each; runs on several cores are several; default: 2",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps and times, to try a table out")
    parser.add_argument(
        "--into", type=Path, default=base, help="folder for runs, results and report; in an empty one all is done anew"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="compute on the GPU, which all runs share; default: cores alone"
    )
    parser.add_argument("--list", action="store_true", help="show the cells and do nothing")
    parser.add_argument("--report", action="store_true", help="write the table and do nothing else")
    given = parser.parse_args(arguments)
    if given.gpu and not gpu_name():
        parser.error("--gpu: expected a GPU, but PyTorch finds none")
    places = Places(root=given.root.resolve(), scale=given.scale, base=given.into.resolve(), gpu=given.gpu)
    results = Results(table, places)
    named = [cell for cell in table.cells if any(fnmatch(cell.name, pattern) for pattern in given.only)]
    cells = [cell for cell in named if given.seeds is None or cell.seed in given.seeds]
    if not cells:
        parser.error(f"--only, --seeds: expected some of {', '.join(dict.fromkeys(c.name for c in table.cells))}")
    if given.list:
        try:
            list_cells(cells, results)
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()
        return 0
    code = 0 if given.report else Harness(table, cells, places, jobs=given.jobs).do()
    print(write_report(results))
    return code
