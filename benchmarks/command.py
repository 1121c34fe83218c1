"""The command: what to measure, with what, within which limits."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks.arguments import Parser
from benchmarks.guard import Interpreters, Limits, run_job
from benchmarks.jobs import Job, Mode
from benchmarks.peers import check_name, is_jax
from benchmarks.pictures import draw
from benchmarks.report import Table, machine_table, tables
from benchmarks.results import Answers, row
from benchmarks.session import Series, Session
from benchmarks.suites import MODES, SUITES, Options, machine

_PIPED_WIDTH = 1000
_GB = 1e9
_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The options."""
    what = (*SUITES, "all")
    parser = Parser(
        prog="python -m benchmarks",
        description="Ours beside its peers, each measurement in a fresh process. See docs/benchmarks.md. Two "
        "checkouts of ours: python -m benchmarks compare --help. Ours on a GPU: python -m benchmarks gpu --help.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("what", nargs="*", metavar="WHAT", help=f"{', '.join(what)}; peers if none is named")
    add("--sides", nargs="+", type=_whole, metavar="PIXELS", help="sides of the pictures; None: each WHAT's own")
    add("--batch", nargs="+", type=_whole, default=[1], metavar="B", help="pictures in a step")
    add("--models", nargs="+", metavar="NAME", help="IMPLEMENTATION:VARIANT; None: each WHAT's own")
    add(
        "--modes",
        nargs="+",
        choices=get_args(Mode),
        default=list(MODES),
        metavar="MODE",
        help=", ".join(get_args(Mode)),
    )
    add("--rounds", type=_whole, default=3, metavar="N", help="how often each measurement is done, in turn")
    add("--limit", type=_positive, default=300.0, metavar="SECONDS", help="the most that a measurement may take")
    add("--max-memory", type=_positive, metavar="GB", help="the most that it may hold; None: 90%% of what is free")
    add("--out", type=Path, metavar="FOLDER", help="for results; None: benchmarks/results/ and the time of day")
    add("--reference", type=Path, metavar="DIR", help="checkout of the JAX reference; None: it does not take part")
    add("--reference-python", default=sys.executable, metavar="PYTHON", help="interpreter that has JAX")
    add(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where models run; the JAX reference runs on the CPU alone",
    )
    add("--precision", choices=("32", "bf16"), default="32", help="bf16: by autocast")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. 0, 2 for a mistake of the user, or 130 after Ctrl-C, with what was measured until then."""
    command = parser()
    given = command.parse_args(arguments)
    try:
        whats, options = _checked(given)
        plans = {what: SUITES[what](options) for what in whats}
        out = given.out or Path("benchmarks", "results", time.strftime("%Y-%m-%d_%H-%M-%S"))
        out.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        command.error(str(error))
    except OSError as error:
        command.error(f"--out: {error.filename}: {error.strerror}")
    import psutil

    memory = given.max_memory * _GB if given.max_memory else 0.9 * psutil.virtual_memory().available
    interpreters = Interpreters(reference=given.reference, reference_python=given.reference_python)
    session = Session(
        partial(run_job, limits=Limits(seconds=given.limit, num_bytes=memory), interpreters=interpreters),
        out / "results.json",
        rounds=given.rounds,
        limit=given.limit,
        options={name: _plain(value) for name, value in vars(given).items()} | {"max_memory": memory / _GB},
    )
    status = 0
    try:
        session.run(_with_machine(options, plans))
    except KeyboardInterrupt:
        print("interrupted; this is what was measured until now", file=sys.stderr)
        status = _INTERRUPTED
    report(plans, session.answers, out)
    return status


def report(plans: dict[str, list[Series]], answers: Answers, out: Path) -> None:
    """Print the tables of what was measured; write them and the pictures into a folder."""
    found: list[Table] = []
    for what, plan in plans.items():
        jobs = [job for series in plan for job in series.jobs]
        found += tables(what, jobs, answers)
        if what in ("peers", "tokens"):
            _draw(what, jobs, answers, out)
    found += machine_table(answers)
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    for table in found:
        table.print(console)
    (out / "results.md").write_text("\n".join(table.markdown() for table in found), encoding="utf-8")
    print(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}", file=sys.stderr)


def _draw(what: str, jobs: Sequence[Job], answers: Answers, out: Path) -> None:
    for mode, batch in dict.fromkeys((job.mode, job.batch) for job in jobs):
        like = dict.fromkeys(job for job in jobs if (job.mode, job.batch) == (mode, batch) and job in answers)
        rows = [row(job, answers) for job in like]
        if any(not each.problem for each in rows):
            draw(f"{mode}, batch {batch}", rows, out / f"{what}-{mode}-{batch}.png")


def _with_machine(options: Options, plans: dict[str, list[Series]]) -> list[Series]:
    """All series in a row; the machine is measured before and after, where there are models."""
    series = [each for plan in plans.values() for each in plan]
    if not plans.keys() & {"peers", "masking", "tokens"}:
        return series
    return [machine(options), *series, machine(options)]


def _checked(given: argparse.Namespace) -> tuple[list[str], Options]:
    """What to do.

    Raises:
        ValueError: a mistake of the user.
    """
    for what in given.what:
        if what not in (*SUITES, "all"):
            raise ValueError(f"WHAT: expected some of {', '.join(SUITES)}, all; got {what!r}")
    whats = list(SUITES) if "all" in given.what else list(dict.fromkeys(given.what or ["peers"]))
    for name in given.models or ():
        check_name(name)
        if is_jax(name) and given.reference is None:
            raise ValueError(f"--reference: expected a checkout of the JAX reference, as {name} takes part")
    if given.reference is not None and not (given.reference / "perceiver.py").is_file():
        raise ValueError(f"--reference: expected a folder with perceiver.py, got {str(given.reference)!r}")
    options = Options(
        models=tuple(dict.fromkeys(given.models)) if given.models else None,
        sides=tuple(dict.fromkeys(given.sides)) if given.sides else None,
        batches=tuple(dict.fromkeys(given.batch)),
        modes=tuple(dict.fromkeys(given.modes)),
        device=given.device,
        precision=given.precision,
        has_reference=given.reference is not None,
    )
    for what in {"masking", "tokens", "values"} & set(whats):
        if not options.ours("any"):
            raise ValueError(f"--models: expected one of ours among them, as {what} measures only those")
    if given.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device: cuda was asked for, but PyTorch finds no GPU")
    return whats, options


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
