"""Run by `test_kills.py`: commands that are killed at random moments, and given again until they end.

A child of this process does a command, forked once everything is imported, and is killed by the system itself: after
some time of its own; before it opens, renames or removes a file of the run; or in the middle of writing one. Or all its
processes, those that load data too, get a signal that asks them to stop, as SLURM sends it. What is left in the end is
compared with what an undisturbed command leaves; differences are printed, and none is the good end.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import random
import resource
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
import torch.utils.tensorboard
from PIL import Image, PngImagePlugin  # noqa: F401 - what commands import when they need it is imported once
from safetensors.torch import load_file

import hiperceiver.cli.finetune
import hiperceiver.cli.pretrain
import hiperceiver.recipes
import hiperceiver.tasks.trivial  # noqa: F401
from experiments import harness
from experiments.cells import Cell, Run, Table
from hiperceiver.cli import main as hip
from hiperceiver.cli.entry import INTERRUPTED
from hiperceiver.training.checkpoints import RUN_KEY, read_checkpoint
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.signals import STOP_SIGNALS

_SECONDS_TO_END = 10.0  # for a process whose sibling was interrupted before both had met
SPEEDS = {"examples_per_second", "tokens_per_second", "seconds"}
BLOCK = {"num_latents": 4, "num_channels": 16, "num_self_attention_layers": 1, "num_self_attention_heads": 2}
MODEL = {
    "embedding_channels": 8,
    "positions": "fourier",  # of learned tables pictures would be drawn, which takes longer than all the rest
    "fourier_bands": 4,
    "dropout": 0.1,
    "blocks": [{"num_groups": groups, **BLOCK} for groups in (4, 1, 4)],
}
TINY = ("--size", "8", "--batch-size", "4", "--steps", "9", "--log-every", "1", "--validate-every", "4")
TINY += ("--checkpoint-every", "3", "--split-seed", "0")


class Moment(NamedTuple):
    """When a command is killed."""

    seconds: float | None = None  # of its own time
    change: int = 0  # or at this change of a file
    share: float | None = None  # in the middle of writing the next one: after this share of it. None: before the change
    signal: int = signal.SIGKILL  # another one goes to the whole group


@dataclass
class Scenario:
    """A command, `do(folder)`, and what it leaves, `result(folder)`: by name, without what is another each time."""

    do: Callable[[Path], int]
    result: Callable[[Path], dict[str, Any]]
    ranks: int = 1  # processes that train together


# ------------------------------------------------------------------------------------------------- kill and be killed


def watch_files(folder: Path, at_change: Callable[[int, str], None]) -> None:
    """Call a function before this process changes a file in a folder, with the number and the path of the change."""
    count, inside = 0, f"{folder}{os.sep}"

    def audit(event: str, arguments: tuple) -> None:
        nonlocal count
        if event not in ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir"):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        path = arguments[1] if event in ("os.rename", "os.link") else arguments[0]
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(inside):
            count += 1
            at_change(count, os.fspath(path))

    sys.addaudithook(audit)


def arm(moment: Moment, folder: Path, sizes: dict[str, int]) -> None:
    """Let this process be killed at a moment; `sizes` are those of the files of an undisturbed run, by their names."""
    if moment.seconds is not None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, max(moment.seconds, 1e-3))
        return

    def kill(count: int, path: str) -> None:
        if moment.signal != signal.SIGKILL:
            if count == moment.change:
                os.killpg(0, moment.signal)
            return
        if count < moment.change:
            return
        if moment.share is None:
            os.kill(os.getpid(), signal.SIGKILL)
        before = os.path.getsize(path) if os.path.exists(path) and not path.endswith(".partial") else 0
        whole = sizes.get(os.path.basename(path).removesuffix(".partial"), 100)
        limit = before + int((moment.share or 0.0) * (60 if before else whole))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which the system sends to who writes more than this
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(limit, resource.getrlimit(resource.RLIMIT_FSIZE)[0]), -1))

    def allow_all() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**40, -1))

    allow_all()
    os.register_at_fork(after_in_child=allow_all)  # workers write to shared memory, which is no file of the run
    watch_files(folder, kill)


def child(work: Callable[[], int], log: Path, group: int) -> int:
    """Do something in a process of its own, in a group of processes (0: a new one), and give its number."""
    number = os.fork()
    if number:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has done so, and has ended
            os.setpgid(number, group or number)
        return number
    os.setpgid(0, group)
    code = 3
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = work()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(scenario: Scenario, folder: Path, prepare: Callable[[int], None] = lambda rank: None) -> list[int]:
    """The exit codes of a scenario's processes, negative for signals; if one is killed, the others are too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def work(rank: int) -> Callable[[], int]:
        def do() -> int:
            if scenario.ranks > 1:
                names = ("NTASKS", "NTASKS_PER_NODE", "STEP_NUM_TASKS")
                slurm = dict.fromkeys(names, scenario.ranks) | {"PROCID": rank, "LOCALID": rank}
                slurm |= {"NODEID": 0, "NNODES": 1, "STEP_NUM_NODES": 1, "JOB_NAME": "hip"}
                os.environ.update({f"SLURM_{name}": str(value) for name, value in slurm.items()})
                os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
            prepare(rank)
            return scenario.do(folder)

        return do

    log = folder.with_name(f"{folder.name}.log")
    left: dict[int, int] = {}
    for rank in range(scenario.ranks):
        left[child(work(rank), log, next(iter(left), 0))] = rank
    codes, end = [0] * scenario.ranks, math.inf
    while left:
        number, status = os.waitpid(-1, os.WNOHANG)
        if number in left:
            codes[rank := left.pop(number)] = os.waitstatus_to_exitcode(status)
            if codes[rank]:
                end = min(end, time.monotonic() + (0.0 if codes[rank] < 0 else _SECONDS_TO_END))
        elif time.monotonic() > end:
            for other in left:
                os.kill(other, signal.SIGKILL)
        time.sleep(0.01)
    return codes


def killed_again_and_again(scenario: Scenario, folder: Path, kills: int, draws: random.Random) -> Iterator[str]:
    """Kill a scenario's commands so often, give them again until they have ended, and tell every difference."""
    straight = folder / "straight"
    used, changes = folder / "seconds", folder / "changes"

    def count(rank: int) -> None:
        if rank == 0:
            watch_files(straight, lambda number, _: changes.write_text(str(number)) and None)

    codes = run(Scenario(lambda each: timed(scenario.do(each), used), scenario.result, scenario.ranks), straight, count)
    assert codes == [0] * scenario.ranks, (codes, straight.with_name("straight.log").read_text())
    expected = scenario.result(straight)
    sizes = {path.name: path.stat().st_size for path in straight.rglob("*") if path.is_file()}
    seconds, num_changes = float(used.read_text()), int(changes.read_text())
    done, number = 0, 0
    while done < kills:
        number += 1
        again, moments = folder / f"killed-{number}", []
        while True:
            moment, rank = None, draws.randrange(scenario.ranks)
            if done < kills:
                kind, change = draws.random(), 1 + int(draws.random() * num_changes)
                if rank or kind < 0.3:  # another rank changes no file
                    moment = Moment(seconds=draws.random() * seconds)
                elif kind < 0.5:
                    moment = Moment(change=change, signal=draws.choice(STOP_SIGNALS))
                else:
                    moment = Moment(change=change, share=draws.random() if kind < 0.8 else None)
                moments.append((rank, moment))

            def prepare(each: int, rank: int = rank, moment: Moment | None = moment) -> None:
                if each == rank and moment is not None:
                    arm(moment, again, sizes)  # noqa: B023 - called at once

            codes = run(scenario, again, prepare)
            if moment is None or not (min(codes) < 0 or (moment.signal != signal.SIGKILL and INTERRUPTED in codes)):
                break
            done += moment.signal == signal.SIGKILL
        if codes != [0] * scenario.ranks:
            yield f"{folder.name}: {moments}: {codes}, {again.with_name(again.name + '.log').read_text()}"
        else:
            for each in differences(scenario.result(again), expected):
                yield f"{folder.name}: {moments}: {each}"
        shutil.rmtree(again)


def timed(code: int, used: Path) -> int:
    """Write down how much time this process has taken."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    used.write_text(str(spent.ru_utime + spent.ru_stime))
    return code


def differences(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Where two results are not equal to the bit, and how."""
    if isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor):
        if not torch.equal(found, expected):
            yield f"{path}: weights"
    elif isinstance(found, dict) and isinstance(expected, dict):
        for name in {**expected, **found}:
            yield from differences(found.get(name), expected.get(name), f"{path}/{name}")
    elif isinstance(found, list | tuple) and isinstance(expected, list | tuple) and len(found) == len(expected):
        for number, pair in enumerate(zip(found, expected, strict=True)):
            yield from differences(*pair, f"{path}/{number}")
    elif found != expected:
        yield f"{path}: {str(found)[:300]} instead of {str(expected)[:300]}"


# ---------------------------------------------------------------------------------------------------------- scenarios


def trained(folder: Path) -> dict[str, Any]:
    """What a run leaves, but for times and speeds."""
    run = RunFolder(folder)
    last = read_checkpoint(run.last_checkpoint)
    state = {name: value for name, value in last.pop(RUN_KEY).items() if name != "elapsed"}
    with run.metrics.open(newline="") as file:
        rows = [{k: v for k, v in sorted(row.items()) if v and k not in SPEEDS} for row in csv.DictReader(file)]
    found = {"rows": rows, "state": state, "checkpoint": last, "best": read_checkpoint(run.best_checkpoint)["weights"]}
    found |= {"model": load_file(run.model / "model.safetensors"), "config": (run.model / "config.json").read_text()}
    found |= {name: (folder / name).read_text() for name in ("settings.yaml", "test.json") if (folder / name).exists()}
    found["skipped"] = sorted(run.skipped.read_text().split("\n"))
    found["left over"] = [path.name for path in folder.rglob("*.partial")]
    return found


def command(*arguments: object, ranks: int = 1) -> Scenario:
    words = list(map(str, arguments))
    return Scenario(lambda folder: hip([*words, "--out", str(folder), "--resume"]), trained, ranks)


def experiment(folder: Path) -> int:
    fake: Any = {"command": "tests.experiments.fake_run", "minutes": 0.1}
    runs = (Run(settings={"steps": 6, "seed": seed}, **fake) for seed in range(2))
    cells = tuple(Cell(name="plain", seed=seed, runs=(run,)) for seed, run in enumerate(runs))
    table = Table(name="fakes", title="Fakes", about="Made up.", cells=cells, columns={"accuracy": "test.accuracy"})
    folder.mkdir(exist_ok=True)
    return harness.main(table, ["--root", str(folder)], folder)


def experimented(folder: Path) -> dict[str, Any]:
    """What an experiment leaves, but for what it cost."""
    found: dict[str, Any] = {}
    for path in folder.glob("experiments/results/fakes/*.json"):
        result = harness.read_json(path)
        found[path.name] = {name: result[name] for name in ("key", "test", "commands", "labels")}
    found["costs"] = sorted(harness.read_json(path)["is_done"] for path in folder.glob("runs/experiments/whole/*.json"))
    report = (folder / "docs/results.md").read_text().splitlines()
    found["report"] = [line for line in report if "plain" in line or line.startswith(("#", "<!--"))]
    return found


def pictures(folder: Path) -> Path:
    for number in range(12):
        path = folder / "data" / ("bright", "dark")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = random.Random(number).randbytes(16 * 16)
        Image.frombytes("L", (16, 16), bytes(each // (1 + number % 2) for each in noise)).save(path)
    path.with_name("cut.png").write_bytes(path.read_bytes()[:100])
    return folder / "data"


def main(folder: Path, seed: int, kills: int) -> int:
    torch.set_num_threads(1)
    data = pictures(folder)
    pretrain = ("pretrain", "--data", data, *TINY, "--ema", "0.9", "--model-settings", json.dumps(MODEL))
    scenarios = {
        "pretrain": command(*pretrain, "--num-workers", 2),
        "together": command(*pretrain, ranks=2),
        "finetune": command("finetune", "--data", data, "--from", folder / "pretrain/straight", "--test", *TINY),
        "experiment": Scenario(experiment, experimented),
    }
    draws = random.Random(seed)
    shares = {"pretrain": 0.35, "together": 0.25, "finetune": 0.25, "experiment": 0.15}
    wrong = 0
    for name, scenario in scenarios.items():
        (folder / name).mkdir()
        for difference in killed_again_and_again(scenario, folder / name, round(shares[name] * kills), draws):
            wrong += 1
            print(difference, flush=True)
    return min(wrong, 100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    sys.exit(main(given.folder.resolve(), given.seed, given.kills))
