"""`python -m benchmarks gpu`: measure within a budget of time, each answer on disk as soon as it is there."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

from benchmarks.arguments import Parser
from benchmarks.gpu.plan import MODELS, PARTS, SIDES, Measurement, plan
from benchmarks.gpu.report import in_short, markdown

ROOT = Path(__file__).parents[2]
_INTERRUPTED = 130


@dataclass(kw_only=True)
class Result:
    """What came of a measurement."""

    what: Measurement
    status: str = "no time left"
    """`measured`, or why not."""
    note: str = ""
    """In one line, where it was not measured."""
    wall: float = 0.0
    """Seconds that it took, with everything around it."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """By name; those that were there before something went wrong stand."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.what.to_dict(), **{name: value for name, value in vars(self).items() if name != "what"}}


class Worker:
    """A process that does measurements, started when it is first needed, and anew when one has ended."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "benchmarks.gpu.worker")) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def do(self, result: Result, limit: float) -> None:
        """Fill in what comes of a measurement. What goes wrong, or takes longer than `limit` seconds, is noted."""
        deadline = time.monotonic() + limit
        try:
            if self._process is None:
                self._start()
            assert self._process is not None and self._process.stdin is not None
            print(json.dumps(result.what.to_dict()), file=self._process.stdin, flush=True)
            while True:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
                answer = (
                    json.loads(line) if line else {"status": "failed", "note": self._last_words(), "is_broken": True}
                )
                result.numbers.update(answer.get("numbers", {}))
                if "status" in answer:
                    result.status, result.note = answer["status"], answer["note"]
                    if answer["is_broken"]:
                        self.stop()
                    return
        except Empty:
            result.status, result.note = "too slow", f"more than {limit:.0f} s"
            self.stop()
        except OSError as error:  # it ended before it read
            result.status, result.note = "failed", f"{error}; {self._last_words()}"
            self.stop()

    def stop(self) -> None:
        """End the process and all that it started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._errors.close()
        self._process = None

    def _start(self) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the process
        self._process = process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._lines: Queue[str] = Queue()
        assert process.stdout is not None
        Thread(target=_hand_on, args=(process.stdout, self._lines), daemon=True).start()

    def _last_words(self) -> str:
        assert self._process is not None
        code = self._process.wait(timeout=10)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"ended with {code}")[:300]


def _hand_on(lines: IO[str], queue: Queue[str]) -> None:
    """Every line, and an empty one at the end."""
    with lines:
        for line in lines:
            queue.put(line)
    queue.put("")


def run(
    measurements: Sequence[Measurement],
    *,
    seconds: float,
    options: dict[str, Any],
    out: Path,
    do: Callable[[Result, float], None],
) -> list[Result]:
    """Do the measurements as far as the time goes; `gpu.json` is written after each, `gpu.md` at the end.

    Args:
        measurements: in their order.
        seconds: of all of them together. One that has begun is ended when the time is over.
        options: what the user asked for, kept in the file.
        out: the folder.
        do: fills in a result within seconds.
    """
    started = time.monotonic()
    results = [Result(what=each) for each in measurements]
    done: list[dict[str, Any]] = []
    try:
        for number, result in enumerate(results, start=1):
            before = time.monotonic() - started
            left = seconds - before
            if left > 0:
                print(f"[{number}/{len(results)}] {result.what.described()} ... ", end="", file=sys.stderr, flush=True)
                do(result, min(result.what.limit, left))
                elapsed = time.monotonic() - started
                result.wall = elapsed - before
                rest = min(elapsed / number * (len(results) - number), max(0.0, seconds - elapsed))
                words = f"{in_short(result.to_dict())} ({elapsed:.0f} of {seconds:.0f} s, about {rest:.0f} s left)"
                print(words, file=sys.stderr, flush=True)
            done.append(result.to_dict())
            text = json.dumps({"options": options, "measurements": done}, indent=1)
            (out / "gpu.json").write_text(text + "\n", encoding="utf-8")
    finally:  # Ctrl-C included
        (out / "gpu.md").write_text(markdown(done, seconds=seconds), encoding="utf-8")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. 0; 1 if nothing was measured; 2 for a mistake of the user; 130 after Ctrl-C."""
    parser = Parser(prog="python -m benchmarks gpu", description=__doc__)
    add = parser.add_argument
    add("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the command out, in small (cuda)")
    add("--seconds", type=_positive, default=540.0, metavar="S", help="for all; what is left over is named (540)")
    add("--precision", choices=("32", "bf16"), help="of steps; bf16: by autocast (cuda: bf16, cpu: 32)")
    words = "VARIANT or VARIANT:fourier of ours, resnet-50, vit-b; the first is that of all parts but the cost table"
    add("--models", nargs="+", default=list(MODELS), metavar="NAME", help=f"{words} ({' '.join(MODELS)})")
    words = "of the pictures of the cost table; the first is that of the other parts"
    add("--sides", nargs="+", type=_whole, default=list(SIDES), metavar="PX", help=f"{words} ({_words(SIDES)})")
    add("--batches", nargs="+", type=_whole, default=[64, 256], metavar="B", help="of the throughput (64 256)")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=f"which ({' '.join(PARTS)})")
    add("--out", type=Path, metavar="FOLDER", help="for gpu.json and gpu.md (benchmarks/results/ and the time of day)")
    given = parser.parse_args(arguments)
    try:
        _check(given.models)
        if given.device == "cuda":
            _find_gpu()
        out = given.out or Path("benchmarks", "results", time.strftime("gpu-%Y-%m-%d_%H-%M-%S"))
        out.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out: {error.filename}: {error.strerror}")
    precision = given.precision or ("bf16" if given.device == "cuda" else "32")
    chosen = {name: getattr(given, name) for name in ("models", "sides", "batches", "parts")}
    measurements = plan(device=given.device, precision=precision, **chosen)
    worker = Worker()
    options = {"device": given.device, "precision": precision, "seconds": given.seconds, **chosen}
    try:
        results = run(measurements, seconds=given.seconds, options=options, out=out, do=worker.do)
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was measured until now is in {out}", file=sys.stderr)
        return _INTERRUPTED
    finally:
        worker.stop()
    print((out / "gpu.md").read_text(encoding="utf-8"))
    print(f"{out}: gpu.json, gpu.md", file=sys.stderr)
    return 0 if any(each.status == "measured" for each in results) else 1


def _check(models: Sequence[str]) -> None:
    """Refuse models that are not known.

    Raises:
        ValueError: which, and which there are.
    """
    from benchmarks.gpu.classifiers import OTHERS
    from hiperceiver.model import VARIANTS

    known = [*VARIANTS, *(f"{name}:fourier" for name in VARIANTS), *OTHERS]
    for name in models:
        if name not in known:
            raise ValueError(f"--models: expected names among {', '.join(known)}; got {name!r}")
    if models[0] in OTHERS:
        raise ValueError(f"--models: expected one of ours as the first, got {models[0]!r}")


def _find_gpu() -> None:
    """Refuse where there is none.

    Raises:
        ValueError: PyTorch finds none.
    """
    import torch

    if not torch.cuda.is_available():
        raise ValueError("--device: PyTorch finds no GPU; --device cpu tries the command out")


def _words(values: Sequence[object]) -> str:
    return " ".join(map(str, values))


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value
